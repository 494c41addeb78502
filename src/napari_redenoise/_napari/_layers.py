"""Conversion between napari layers and arrays.

Nothing here imports napari: layers come in through their public attributes, and results leave as
layer data tuples.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from napari_redenoise.data import SMALLEST_SIDE, Planes, result_dtype
from napari_redenoise.errors import InputError
from napari_redenoise.io import (
    RGB,
    ImageFile,
    in_one_unit,
    ome_of_sizes,
    result_array,
    round_to_integers,
    unit_symbol,
)
from napari_redenoise.model import Window
from napari_redenoise.objectives import OBJECTIVE_NAMES

LayerData = tuple[Any, dict[str, Any], str]

SPATIAL = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
DISPLAY = ("colormap", "gamma", "contrast_limits", "interpolation2d", "interpolation3d")
METADATA_KEY = "napari-redenoise"
MASK_CONTENT = "fusion mask: 1 = standard branch, 0 = equivariant branch"
RESIDUAL_CONTENT = "residual: noisy minus denoised"
PREVIEW_CONTENT = "preview"
DISAGREEMENT_CONTENT = "disagreement of the result under rotation"
UNSUPPORTED_CONTENT = "unsupported fine detail of the result: 0 = supported, 1 = not supported"

_AUXILIARY_CONTENTS = (
    MASK_CONTENT,
    DISAGREEMENT_CONTENT,
    UNSUPPORTED_CONTENT,
    RESIDUAL_CONTENT,
    PREVIEW_CONTENT,
)
_MOST_SAMPLES = 512
_PIXEL = "pixel"
_AXIS_NAMES = {"T": "time point", "Z": "z-slice", "C": "channel"}
_KNOWN_LABELS = {"t": "T", "time": "T", "z": "Z", "depth": "Z", "c": "C", "channel": "C"}
_NETWORK_NAMES = {"adarenet": "AdaReNet", "equivariant": "equivariant", "standard": "U-Net"}
_POSSIBLE_AXES = (
    "T",
    "Z",
    "C",
    "S",
    "TZ",
    "TC",
    "ZT",
    "ZC",
    "CT",
    "CZ",
    "ST",
    "SZ",
    "SC",
    "TZC",
    "TCZ",
)


@dataclass(frozen=True)
class LayerImage:
    """An image layer as plain values, which other threads can use.

    Attributes
    ----------
    name : str
    array : array-like
        Full resolution; colour layers have three channels last, without alpha.
    axes : str
        One letter per axis of ``array``.
    colour : bool
        Whether the layer is an RGB layer.
    spatial, display : dict
        Keyword arguments of a layer with the same position and the same display settings.
    file : str or None
        Path of the file from which the layer was read.
    """

    name: str
    array: Any
    axes: str
    colour: bool = False
    spatial: dict[str, Any] = field(default_factory=dict)
    display: dict[str, Any] = field(default_factory=dict)
    file: str | None = None

    @property
    def channels(self) -> int:
        """Number of channels."""
        return int(self.array.shape[self.axes.index("C")]) if "C" in self.axes else 1

    @property
    def planes(self) -> Planes:
        """The planes of the array.

        Raises
        ------
        InputError
            When array and axes do not fit.
        """
        return Planes(self.array, self.axes)

    @property
    def is_stack(self) -> bool:
        """Whether the layer holds several planes."""
        return len(self.planes) > 1

    def describe(self) -> str:
        """Describe the axes as they are interpreted."""
        planes = self.planes
        plane = f"{planes.height} × {planes.width} pixels"
        if self.colour:
            plane += " in colour"
        elif planes.channels > 1:
            plane += f" in {planes.channels} channels"
        sizes = dict(zip(self.axes, self.array.shape, strict=True))
        parts = [
            f"{size} {_AXIS_NAMES.get(axis, 'image')}{'s' if size != 1 else ''}"
            for axis, size in sizes.items()
            if axis not in "CYX"
        ]
        return f"Stack of {' × '.join(parts)}, {plane}" if parts else f"Image of {plane}"


def is_auxiliary(layer: Any) -> bool:
    """Whether a layer is a mask, a map or a preview of this plugin."""
    made = layer.metadata.get(METADATA_KEY, {})
    return made.get("content") in _AUXILIARY_CONTENTS


def possible_axes(ndim: int) -> tuple[str, ...]:
    """Possible axes of a grey layer with ``ndim`` axes, one letter per axis."""
    found = tuple(f"{leading}YX" for leading in _POSSIBLE_AXES if len(leading) == ndim - 2)
    return found or ("STZCYX"[-ndim:],)


def axes_in_words(axes: str) -> str:
    """Names of axes, in words."""
    names = {"T": "time", "Z": "depth", "C": "channels", "Y": "y", "X": "x"}
    return ", ".join(names.get(axis, "images") for axis in axes)


def has_named_axes(layer: Any) -> bool:
    """Whether the axis labels of a layer name all axes before the plane."""
    return all(label.lower() in _KNOWN_LABELS for label in layer.axis_labels[:-2])


def read_layer(layer: Any, axes: str | None = None) -> LayerImage:
    """Read the attributes of an image layer; call it on the main thread.

    Parameters
    ----------
    layer : napari.layers.Image
        Or a public proxy of one. The pixels are neither copied nor read.
    axes : str, optional
        One letter per axis of a grey layer; overrides the axis labels.

    Raises
    ------
    InputError
        When the layer cannot be denoised.
    """
    array = layer.data[0] if layer.multiscale else layer.data
    colour = bool(layer.rgb)
    if colour:
        if array.ndim != 3:
            raise InputError(
                f"'{layer.name}' is a colour stack of {array.ndim - 1} axes: split its channels "
                "first (right-click the layer, Split RGB)"
            )
        array, axes = array[..., :3], "YXC"
    elif axes is None:
        axes = _axes(array.ndim, tuple(layer.axis_labels), str(layer.name))
    image = LayerImage(
        str(layer.name),
        array,
        axes,
        colour,
        _keywords(layer, SPATIAL),
        {} if colour else _keywords(layer, DISPLAY),
        _file(layer),
    )
    _check_size(image)
    Planes(image.array, image.axes)
    return image


def _keywords(layer: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Keyword arguments of a layer with the same attributes."""
    keywords = layer.as_layer_data_tuple()[1]
    return {name: keywords[name] for name in names if name in keywords}


def placed_now(
    source: LayerImage, layers: Collection[Any], noisy: Any, result: Any = None
) -> LayerImage:
    """A layer that was read, with its name and position of now; call it on the main thread.

    Without the noisy layer, the position is that of its result. Axes and pixels stay. A deleted
    layer keeps its name.

    Parameters
    ----------
    source : LayerImage
    layers : collection of napari.layers.Layer
        The layers in the viewer.
    noisy, result : napari.layers.Image
        The layer of ``source``, and its denoised one, if there is one.
    """
    source = replace(source, name=str(noisy.name))
    axes = len(_spatial_axes(source))
    for shown in (noisy, result):
        # Other data may have other axes.
        if shown is not None and shown in layers and shown.ndim == axes:
            return replace(source, spatial=_keywords(shown, SPATIAL))
    return source


def move(layer: Any, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Give a layer what has changed of the position of its source, and leave the rest."""
    for name, value in now.items():
        if name not in before or not np.array_equal(before[name], value):
            setattr(layer, name, value)


def _check_size(image: LayerImage) -> None:
    """Refuse planes that are too small for the network."""
    sizes = dict(zip(image.axes, image.array.shape, strict=False))
    height, width = (sizes.get(axis, 0) for axis in "YX")
    if 0 < min(height, width) < SMALLEST_SIDE:
        axes = " or correct its axes" if len(image.axes) > 2 and not image.colour else ""
        raise InputError(
            f"'{image.name}' is too small, {height} × {width} pixels: choose an image of at least "
            f"{SMALLEST_SIDE} × {SMALLEST_SIDE} pixels{axes}"
        )


def _file(layer: Any) -> str | None:
    """Path of a layer's file, or None: some readers name folders and addresses."""
    path = layer.source.path
    return str(path) if path and Path(path).is_file() else None


def image_file(source: LayerImage) -> ImageFile:
    """Axes, pixel size and units of a layer, as the file of its result stores them.

    A negative scale flips the view of a layer; the size of its pixels is the absolute value.
    """
    axes, spatial = _spatial_axes(source), source.spatial
    named = dict(zip(axes, map(str, spatial.get("units", ())), strict=False))
    units = {axis: None if named.get(axis, _PIXEL) == _PIXEL else named[axis] for axis in axes}
    scale = zip(axes, (abs(float(size)) for size in spatial["scale"]), strict=True)
    # A size of 1 without unit is napari's default.
    sizes = {axis: size for axis, size in scale if size != 1 or units[axis]}
    metadata, resolution = _stored_sizes(sizes), None
    if units["X"]:
        metadata["unit"] = unit_symbol(units["X"])
    if sizes.keys() & set("ZYX"):
        resolution = (1 / sizes.get("X", 1.0), 1 / sizes.get("Y", 1.0))
    metadata, resolution = in_one_unit(metadata, resolution, units)
    unit = None if resolution is None else 1
    ome = ome_of_sizes(source.axes, sizes, units)
    channels = RGB if source.colour else ()
    form = metadata, resolution, unit
    return ImageFile(np.empty(0), source.axes, *form, ome=ome, channels=channels)


def _stored_sizes(sizes: dict[str, float]) -> dict[str, Any]:
    """Sizes beside those of a pixel, by ImageJ's names."""
    keys = {"Z": "spacing", "T": "finterval"}
    stored: dict[str, Any] = {keys[axis]: sizes[axis] for axis in keys if axis in sizes}
    for axis in sizes.keys() - set("TZCYX"):
        stored.setdefault("spacing", f"{sizes[axis]} along an axis without name")
    return stored


def _spatial_axes(source: LayerImage) -> str:
    """Axes with world coordinates: all but the colour axis."""
    return "YX" if source.colour else source.axes


def read_axes(layer: Any) -> str | None:
    """Axes that the labels of a layer name or that are usual; None where they are no image."""
    if layer.rgb:
        return "YXC"
    try:
        return _axes(layer.ndim, tuple(layer.axis_labels), str(layer.name))
    except InputError:
        return None


def _axes(ndim: int, labels: tuple[str, ...], name: str) -> str:
    """Letters for the axes of a layer, from its axis labels where these are known."""
    if not 2 <= ndim <= 5:
        raise InputError(
            f"'{name}' has {ndim} axes, expected 2 to 5: choose an image layer with fewer axes"
        )
    known = _KNOWN_LABELS
    plane = [label.lower() for label in labels[-2:]]
    elsewhere = {label.lower() for label in labels[:-2]} & {"y", "x"}
    if elsewhere or known.keys() & set(plane) or plane == ["x", "y"]:
        raise InputError(
            f"'{name}' has the axes {', '.join(labels)}, but the last two must be y and x: "
            "transpose the layer (viewer.add_image(layer.data.transpose(...)))"
        )
    letters = ""
    for label in labels[: ndim - 2]:
        letter = known.get(label.lower(), "")
        spare = next(spare for spare in "SQPRA" if spare not in letters)
        letters += letter if letter and letter not in letters else spare
    return letters + "YX"


def make_canvas(source: LayerImage) -> Any:
    """Make the array for the previews and the result of a run, in the shape of the source.

    Grey images begin as NaN, which napari shows as transparent. Colour images begin as a copy,
    since their pixels cannot be transparent. Large arrays are stored on disk, see
    `napari_redenoise.io.result_array`.

    Raises
    ------
    InputError
        For floating-point colours above 1, which napari does not show.
    """
    if not source.colour:
        planes = source.planes
        return result_array(planes, fill_value=float("nan"), dtype=result_dtype(planes))
    check_colours(source)
    return np.array(source.array)


def check_colours(source: LayerImage) -> None:
    """Refuse colours that napari does not show; reads the pixels of a colour layer.

    Raises
    ------
    InputError
        For floating-point colours above 1.
    """
    if not source.colour or np.dtype(source.array.dtype).kind != "f":
        return
    colours = np.asarray(source.array)
    largest = np.max(colours, initial=-np.inf, where=np.isfinite(colours))
    if largest > 1:
        raise InputError(
            f"'{source.name}' has colours up to {largest:.3g}, but floating-point colours must lie "
            "between 0 and 1: divide the layer's data first"
        )


def paint(source: LayerImage, canvas: np.ndarray, window: Window, plane: np.ndarray) -> None:
    """Write a denoised window (channels, rows, columns) into a canvas."""
    shown = as_shown(plane, source) if source.colour else plane
    source.planes.write(canvas, window.sample, window.rows, window.columns, shown)


def expand_axes(source: LayerImage, plane: np.ndarray) -> np.ndarray:
    """Give a denoised window (channels, rows, columns) the axes of its layer."""
    sizes = dict(zip("CYX", plane.shape, strict=True))
    array = np.empty([sizes.get(axis, 1) for axis in source.axes], plane.dtype)
    planes = Planes(array, source.axes)
    planes.write(array, (0,) * len(planes.sample_shape), slice(None), slice(None), plane)
    return as_shown(array, source) if source.colour else array


def denoised_layer(source: LayerImage, canvas: np.ndarray) -> LayerData:
    """Layer data of a canvas, with the position and display settings of its source."""
    keywords = {
        **source.spatial,
        **source.display,
        "name": f"{source.name} preview",
        "rgb": source.colour,
        "metadata": {METADATA_KEY: {"content": PREVIEW_CONTENT}},
    }
    return canvas, keywords, "image"


def method_of(provenance: dict[str, Any]) -> str:
    """Network and training of a run, short."""
    config = provenance["config"]
    network, objective = config["network"], config["objective"]["kind"]
    method = _NETWORK_NAMES[network["kind"]]
    if network["kind"] != "standard" and network["group"] != "C4":
        method += f" {network['group']}"
    is_trained = provenance["steps"] and provenance.get("judgement", {}).get("share") != 0
    training = OBJECTIVE_NAMES[objective][1] if is_trained else "pretrained"
    return f"{method}, {training}"


def denoised_name(source: LayerImage, provenance: dict[str, Any]) -> str:
    """Name of a finished denoised layer: its source and the method."""
    return f"{source.name} denoised ({method_of(provenance)})"


def provenance_of(source: LayerImage, provenance: dict[str, Any], content: str) -> dict[str, Any]:
    """Metadata of a result layer: the run, its source, and the content of the layer."""
    return {METADATA_KEY: {**provenance, "source": source.name, "content": content}}


def mask_layer(source: LayerImage, mask: np.ndarray, provenance: dict[str, Any]) -> LayerData:
    """Layer data of a fusion mask, hidden by default.

    Its contrast limits are percentiles, because a mask often spans a small part of 0..1.
    """
    limits = percentiles(mask, 1, 99)
    if "C" in source.axes and not source.colour:
        # All channels share one mask.
        axis = source.axes.index("C")
        mask = np.broadcast_to(np.expand_dims(mask, axis), tuple(source.array.shape))
    keywords = {
        **source.spatial,
        "name": f"{source.name} fusion mask",
        "rgb": False,
        "colormap": "viridis",
        "contrast_limits": limits,
        "visible": False,
        "metadata": provenance_of(source, provenance, MASK_CONTENT),
    }
    return mask, keywords, "image"


def as_shown(array: np.ndarray, source: LayerImage) -> np.ndarray:
    """Convert to the dtype of a colour source: napari shows floats outside 0..1 wrongly."""
    dtype = np.dtype(source.array.dtype)
    if dtype.kind in "ui":
        return round_to_integers(array, dtype)
    return np.asarray(np.clip(array, 0, 1).astype(dtype))


def percentiles(array: Any, low: float, high: float) -> list[float]:
    """Contrast limits from percentiles of the finite pixels of the middle plane; never equal.

    Large planes are subsampled, because this runs in the viewer's thread.
    """
    every = tuple(slice(None, None, max(1, size // _MOST_SAMPLES)) for size in array.shape[-2:])
    middle = np.asarray(array[(*(size // 2 for size in array.shape[:-2]), *every)])
    finite = middle[np.isfinite(middle)]
    if not finite.size:
        return [0.0, 1.0]
    first, last = (float(value) for value in np.percentile(finite, (low, high)))
    return [first, last if last > first else first + 1e-6]
