"""Between layers and plain arrays: what a layer holds, and what a result looks like as layers.

Nothing here imports napari: layers come in by their public attributes and go out as layer data
tuples.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_redenoise.data import Planes, result_dtype
from napari_redenoise.errors import InputError
from napari_redenoise.io import ImageFile, result_array, rounded
from napari_redenoise.model import Window

LayerData = tuple[Any, dict[str, Any], str]

SPATIAL = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
DISPLAY = ("colormap", "gamma", "contrast_limits", "interpolation2d", "interpolation3d")
METADATA_KEY = "napari-redenoise"
MASK_CONTENT = "fusion mask: 1 = standard branch, 0 = equivariant branch"
RESIDUAL_CONTENT = "residual: noisy minus denoised"
PREVIEW_CONTENT = "preview"
DISAGREEMENT_CONTENT = "change of the result when the picture is turned"
UNSUPPORTED_CONTENT = "where fine detail of the result is not supported: 0 supported, 1 not"

_NO_IMAGES = (
    MASK_CONTENT,
    DISAGREEMENT_CONTENT,
    UNSUPPORTED_CONTENT,
    RESIDUAL_CONTENT,
    PREVIEW_CONTENT,
)
_MOST_SAMPLES = 512
_AXIS_NAMES = {"T": "time point", "Z": "z-slice", "C": "channel"}
_NETWORK_NAMES = {"adarenet": "AdaReNet", "equivariant": "equivariant", "standard": "U-Net"}
_OBJECTIVE_NAMES = {
    "noise2self": "N2S",
    "noise2void": "N2V",
    "noise2noise": "N2N",
    "r2r": "R2R",
    "neighbor2neighbor": "Ne2Ne",
}
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
    """An image layer as plain values, safe to hand to another thread.

    Attributes
    ----------
    name : str
    array : array-like
        Full resolution; colour layers have three channels last, without alpha.
    axes : str
        One letter per axis of ``array``.
    colour : bool
        Whether the layer is shown in colour.
    spatial, display : dict
        Keyword arguments that place and show a layer of the same kind.
    file : str or None
        What it was read from, where that is one file.
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
        """Channels that are denoised together."""
        return int(self.array.shape[self.axes.index("C")]) if "C" in self.axes else 1

    def describe(self) -> str:
        """Say in words what the axes are taken for."""
        planes = Planes(self.array, self.axes)
        plane = f"{planes.height} × {planes.width} pixels"
        if self.colour:
            plane += " in colour"
        elif planes.channels > 1:
            plane += f" in {planes.channels} channels, denoised together"
        sizes = dict(zip(self.axes, self.array.shape, strict=True))
        parts = [
            f"{size} {_AXIS_NAMES.get(axis, 'picture')}{'s' if size != 1 else ''}"
            for axis, size in sizes.items()
            if axis not in "CYX"
        ]
        return f"{' × '.join(parts)}, each {plane}, used as samples" if parts else plane


def is_no_image(layer: Any) -> bool:
    """Whether a layer is one that we made and no image to denoise: a mask, a map, a preview."""
    made = layer.metadata.get(METADATA_KEY, {})
    return made.get("content") in _NO_IMAGES


def possible_axes(ndim: int) -> tuple[str, ...]:
    """What the axes of a grey layer of so many axes can be, one letter per axis."""
    found = tuple(f"{leading}YX" for leading in _POSSIBLE_AXES if len(leading) == ndim - 2)
    return found or ("STZCYX"[-ndim:],)


def axes_in_words(axes: str) -> str:
    """Names of axes, as a person says them."""
    names = {"T": "time", "Z": "depth", "C": "channels", "Y": "y", "X": "x"}
    return ", ".join(names.get(axis, "pictures") for axis in axes)


def read_layer(layer: Any, axes: str | None = None) -> LayerImage:
    """Take what is needed of an image layer; call it on the main thread.

    Parameters
    ----------
    layer : napari.layers.Image
        Or a public proxy of one. The pixels are neither copied nor read.
    axes : str, optional
        One letter per axis of a grey layer, instead of what its axis labels say.

    Raises
    ------
    InputError
        When the layer cannot be denoised, saying what to do.
    """
    array = layer.data[0] if layer.multiscale else layer.data
    keywords = layer.as_layer_data_tuple()[1]
    colour = bool(layer.rgb)
    if colour:
        if array.ndim != 3:
            raise InputError(
                f"'{layer.name}' is a stack of {array.ndim - 1} axes in colour: split its "
                "channels first (right-click the layer, Split RGB)"
            )
        array, axes = array[..., :3], "YXC"
    elif axes is None:
        axes = _axes(array.ndim, tuple(layer.axis_labels), str(layer.name))
    image = LayerImage(
        str(layer.name),
        array,
        axes,
        colour,
        {key: keywords[key] for key in SPATIAL if key in keywords},
        {} if colour else {key: keywords[key] for key in DISPLAY if key in keywords},
        _file(layer),
    )
    Planes(image.array, image.axes)
    return image


def _file(layer: Any) -> str | None:
    """The file of a layer, if it was read from one; some readers name folders and addresses."""
    path = layer.source.path
    return str(path) if path and Path(path).is_file() else None


def image_file(source: LayerImage) -> ImageFile:
    """Axes, pixel size and units of a layer, as a file of a result of it keeps them."""
    spatial = source.spatial
    scale = dict(zip(_spatial_axes(source), spatial["scale"], strict=True))
    units = dict(zip(_spatial_axes(source), map(str, spatial.get("units", ())), strict=False))
    metadata: dict[str, Any] = {}
    resolution = None
    if units.get("X", "pixel") != "pixel":
        metadata["unit"] = "µm" if units["X"] == "micrometer" else units["X"]
        resolution = (1 / float(scale["X"]), 1 / float(scale["Y"]))
    if "Z" in scale and "unit" in metadata:
        metadata["spacing"] = float(scale["Z"])
    if units.get("T") == "second":
        metadata["finterval"] = float(scale["T"])
    unit = None if resolution is None else 1
    return ImageFile(np.empty(0), source.axes, metadata, resolution, unit)


def _spatial_axes(source: LayerImage) -> str:
    """The axes that the layer places in the world: all but the colours."""
    return "YX" if source.colour else source.axes


def _axes(ndim: int, labels: tuple[str, ...], name: str) -> str:
    """Letters for the axes of a layer, from its axis labels where they say something."""
    if not 2 <= ndim <= 5:
        raise InputError(
            f"'{name}' has {ndim} axes, expected 2 to 5: choose an image layer with fewer axes"
        )
    known = {"t": "T", "time": "T", "z": "Z", "depth": "Z", "c": "C", "channel": "C"}
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
    """Make the array in which a layer shows a result while it comes into being.

    It has the shape of the source. Grey images begin as NaN, which napari shows as transparent;
    colour images, of which no pixel can be transparent, begin as a copy. What is large lies on
    disk, see `napari_redenoise.io.result_array`.

    Raises
    ------
    InputError
        For floating-point colours beyond 0..1, which napari would not show.
    """
    if not source.colour:
        planes = Planes(source.array, source.axes)
        return result_array(planes, fill_value=float("nan"), dtype=result_dtype(planes))
    canvas = np.array(source.array)
    if canvas.dtype.kind == "f" and np.nanmax(canvas) > 1:
        raise InputError(
            f"'{source.name}' has colours from 0 to {np.nanmax(canvas):.3g}, and floating-point "
            "colours must be from 0 to 1: divide the layer's data first"
        )
    return canvas


def paint(source: LayerImage, canvas: np.ndarray, window: Window, plane: np.ndarray) -> None:
    """Write a denoised window, shape (channels, rows, columns), into a canvas."""
    shown = as_shown(plane, source) if source.colour else plane
    Planes(source.array, source.axes).write(
        canvas, window.sample, window.rows, window.columns, shown
    )


def expand_axes(source: LayerImage, plane: np.ndarray) -> np.ndarray:
    """A denoised window (channels, rows, columns) with as many axes as its layer has."""
    sizes = dict(zip("CYX", plane.shape, strict=True))
    array = np.empty([sizes.get(axis, 1) for axis in source.axes], plane.dtype)
    planes = Planes(array, source.axes)
    planes.write(array, (0,) * len(planes.sample_shape), slice(None), slice(None), plane)
    return as_shown(array, source) if source.colour else array


def denoised_layer(source: LayerImage, canvas: np.ndarray) -> LayerData:
    """Layer data that show a canvas where and as the source is shown."""
    keywords = {
        **source.spatial,
        **source.display,
        "name": f"{source.name} preview",
        "rgb": source.colour,
        "metadata": {METADATA_KEY: {"content": PREVIEW_CONTENT}},
    }
    return canvas, keywords, "image"


def denoised_name(source: LayerImage, provenance: dict[str, Any]) -> str:
    """Name of a finished denoised layer: its source and the method."""
    config = provenance["config"]
    network, objective = config["network"], config["objective"]["kind"]
    method = _NETWORK_NAMES[network["kind"]]
    if network["kind"] != "standard" and network["group"] != "C4":
        method += f" {network['group']}"
    is_tuned = provenance["steps"] and provenance.get("judgement", {}).get("share") != 0
    learned = _OBJECTIVE_NAMES[objective] if is_tuned else "not adapted"
    return f"{source.name} denoised ({method}, {learned})"


def provenance_of(source: LayerImage, provenance: dict[str, Any], content: str) -> dict[str, Any]:
    """Metadata of a result layer: what was run, on which layer, and what it holds."""
    return {METADATA_KEY: {**provenance, "source": source.name, "content": content}}


def mask_layer(source: LayerImage, mask: np.ndarray, provenance: dict[str, Any]) -> LayerData:
    """Layer data of a fusion mask, hidden at first.

    Contrast is by percentile, because a mask often uses a small part of 0..1.
    """
    limits = percentiles(mask, 1, 99)
    if "C" in source.axes and not source.colour:
        # The layer has an axis of channels, for which the mask is the same.
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
    """Colours in the dtype of their source: napari shows other floats than 0..1 wrongly."""
    dtype = np.dtype(source.array.dtype)
    if dtype.kind in "ui":
        return rounded(array, dtype)
    return np.asarray(np.clip(array, 0, 1).astype(dtype))


def percentiles(array: Any, low: float, high: float) -> list[float]:
    """Contrast limits by percentile, of the middle plane of a stack; never equal.

    Of large planes every so many-th pixel is looked at: it is the viewer that waits.
    """
    every = tuple(slice(None, None, max(1, size // _MOST_SAMPLES)) for size in array.shape[-2:])
    middle = np.asarray(array[(*(size // 2 for size in array.shape[:-2]), *every)])
    first, last = (float(value) for value in np.nanpercentile(middle, (low, high)))
    return [first, last if last > first else first + 1e-6]
