"""Axes, scale, units and channels in the metadata of OME-Zarr."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from napari_redenoise.data import default_axes
from napari_redenoise.io._spatial_metadata import as_number
from napari_redenoise.io._units import SECOND, ImagejScale, in_one_unit, unit_symbol

VERSION = "0.5"

_KINDS = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}
_LETTERS = {"time": "T", "channel": "C"}
_FREE = "SPRQHIJKLMNOUVW"
_UNIT_NAMES = {
    "fm": "femtometer",
    "pm": "picometer",
    "Å": "angstrom",
    "nm": "nanometer",
    "µm": "micrometer",
    "mm": "millimeter",
    "cm": "centimeter",
    "dm": "decimeter",
    "m": "meter",
    "km": "kilometer",
    "in": "inch",
    "ft": "foot",
    "ps": "picosecond",
    "ns": "nanosecond",
    "µs": "microsecond",
    "ms": "millisecond",
    "cs": "centisecond",
    SECOND: "second",
    "min": "minute",
    "h": "hour",
    "d": "day",
}


@dataclass(frozen=True)
class OmeAxis:
    """An axis of an OME-Zarr.

    Attributes
    ----------
    letter : str
        In the axes of the `ImageFile`.
    name : str
    kind : str or None
        The ``type``: ``"time"``, ``"channel"``, ``"space"``, or another.
    unit : str or None
        The unit's name, as ``"micrometer"``.
    scale, translation : float
        Size of a pixel, and position of the first one.
    """

    letter: str
    name: str
    kind: str | None = None
    unit: str | None = None
    scale: float = 1.0
    translation: float = 0.0

    @classmethod
    def of(cls, letter: str, unit: str | None = None, scale: float = 1.0) -> Self:
        """Make the axis of a letter."""
        return cls(letter, letter.lower(), _KINDS.get(letter), unit, scale)

    @property
    def is_in_plane(self) -> bool:
        """Whether it is Y or X."""
        return self.letter in "YX"

    def as_json(self) -> dict[str, str]:
        """Entry of the ``axes`` of an OME-Zarr."""
        entry = {"name": self.name, "type": self.kind, "unit": self.unit}
        return {key: value for key, value in entry.items() if value is not None}


@dataclass(frozen=True)
class OmeMetadata:
    """Metadata of an image in an OME-Zarr.

    Attributes
    ----------
    axes : tuple of OmeAxis
    name : str or None
    omero : dict or None
        Colours, labels and windows of the channels.
    """

    axes: tuple[OmeAxis, ...]
    name: str | None = None
    omero: dict[str, Any] | None = None

    @property
    def letters(self) -> str:
        """One letter per axis."""
        return "".join(axis.letter for axis in self.axes)

    def renamed(self, letters: str) -> OmeMetadata | None:
        """Give the axes other letters; None if their number differs."""
        if len(letters) != len(self.axes):
            return None
        axes = tuple(
            axis if axis.letter == letter else OmeAxis.of(letter)
            for axis, letter in zip(self.axes, letters, strict=True)
        )
        return replace(self, axes=axes)

    def without_channels(self) -> OmeMetadata:
        """Remove the channel axis and what belongs to it."""
        axes = tuple(axis for axis in self.axes if axis.letter != "C")
        return OmeMetadata(axes, self.name)


def parse_multiscales(ome: Mapping[str, Any], ndim: int) -> tuple[OmeMetadata, tuple[str, ...]]:
    """Read the metadata of the first image of a group.

    Parameters
    ----------
    ome : mapping
        With ``multiscales``, as OME-Zarr 0.1 to 0.5 define them.
    ndim : int
        Axes of its array.

    Returns
    -------
    metadata : OmeMetadata
    notes : tuple of str
        What of the metadata could not be used.
    """
    multiscales = ome["multiscales"][0]
    # Version 0.2 and older have no names and five axes.
    unnamed = "TCZYX" if ndim == 5 else default_axes(ndim)
    listed = multiscales.get("axes") or [*unnamed.lower()]
    # Version 0.3 lists names alone.
    entries = [dict(one) if isinstance(one, Mapping) else {"name": one} for one in listed]
    if len(entries) != ndim:
        axes = tuple(OmeAxis.of(letter) for letter in _letters([{}] * ndim))
        note = f"its metadata names {len(entries)} axes and the image has {ndim}: check the axes"
        return OmeMetadata(axes), (note,)
    transformations = [
        *(multiscales["datasets"][0].get("coordinateTransformations") or ()),
        *(multiscales.get("coordinateTransformations") or ()),
    ]
    found: list[OmeAxis] = []
    unknown: list[str] = []
    for letter, entry, scale, translation in zip(
        _letters(entries), entries, *_composed(transformations, ndim), strict=True
    ):
        kind, unit = _kind_and_unit(entry)
        axis = OmeAxis(letter, str(entry.get("name", letter.lower())), kind)
        # A flipped axis has a negative scale.
        if 0 < abs(scale) < math.inf:
            place = translation if math.isfinite(translation) else 0.0
            axis = replace(axis, unit=unit, scale=abs(scale), translation=place)
        elif letter != "C" and (unit is not None or transformations):
            unknown.append(letter)
        found.append(axis)
    metadata = OmeMetadata(tuple(found), multiscales.get("name"), _omero(ome))
    notes: list[str] = []
    if unknown:
        notes.append(
            f"its metadata gives no usable size of a pixel along {', '.join(unknown)}: it is left "
            "out, set it in the result"
        )
    if not multiscales.get("axes") and ndim != 5:
        notes.append(
            f"its metadata names no axes: they are taken for {metadata.letters}, --axes gives "
            "others"
        )
    return metadata, tuple(notes)


def _kind_and_unit(entry: Mapping[str, Any]) -> tuple[str | None, str | None]:
    kind, unit = entry.get("type"), entry.get("unit")
    return None if kind is None else str(kind), None if unit is None else str(unit)


def _omero(ome: Mapping[str, Any]) -> dict[str, Any] | None:
    found = ome.get("omero")
    return dict(found) if isinstance(found, Mapping) else None


def _letters(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """One letter per axis, each once, Y and X among them."""
    names = [str(entry.get("name", "")).upper() for entry in entries]
    wanted = [
        _LETTERS.get(str(entry.get("type")), name)
        for entry, name in zip(entries, names, strict=True)
    ]
    if not {"Y", "X"} <= set(wanted):
        # The specification has the plane last.
        wanted = [*("" if name in "YX" else name for name in wanted[:-2]), *"YX"[-len(wanted) :]]
    letters: list[str] = []
    for number, name in enumerate(wanted):
        usable = len(name) == 1 and name.isascii() and name.isalpha() and name not in letters
        others = {*letters, *wanted[number:]}
        letters.append(name if usable else next(one for one in _FREE if one not in others))
    return letters


def _composed(transformations: Sequence[Any], ndim: int) -> tuple[list[float], list[float]]:
    """Scale and translation of successive transformations; NaN where they are not known."""
    scale, translation = [1.0] * ndim, [0.0] * ndim
    kinds = [one.get("type") if isinstance(one, Mapping) else None for one in transformations]
    if not {"scale", "identity"} & {*kinds}:
        return [math.nan] * ndim, translation
    for kind, one in zip(kinds, transformations, strict=True):
        if kind == "identity":
            continue
        numbers = [as_number(value) for value in one.get(kind) or ()] if kind else []
        values = [value for value in numbers if value is not None]
        if len(values) != ndim or kind not in ("scale", "translation"):
            # For example an affine one, which no size of a pixel describes.
            return [math.nan] * ndim, translation
        if kind == "scale":
            scale = [before * value for before, value in zip(scale, values, strict=True)]
            translation = [
                before * value for before, value in zip(translation, values, strict=True)
            ]
        else:
            translation = [
                before + value for before, value in zip(translation, values, strict=True)
            ]
    return scale, translation


def imagej_scale(ome: OmeMetadata) -> ImagejScale:
    """Convert the scale to ImageJ's terms."""
    known = {axis.letter: axis for axis in ome.axes if axis.unit or axis.scale != 1}
    metadata: dict[str, Any] = {}
    x, y = (next(axis for axis in ome.axes if axis.letter == letter) for letter in "XY")
    if x.unit is not None:
        metadata["unit"] = unit_symbol(x.unit)
    for name, letter in (("spacing", "Z"), ("finterval", "T")):
        if letter in known:
            metadata[name] = known[letter].scale
    resolution = None
    if {"X", "Y"} & set(known):
        resolution = (_inverse(x.scale), _inverse(y.scale))
    units = {letter: known[letter].unit for letter in "YZT" if letter in known}
    return ImagejScale(*in_one_unit(metadata, resolution, units), None if resolution is None else 1)


def _inverse(size: float) -> float:
    return 1 / size if size else math.inf


def ome_axis(letter: str, size: float | None, unit: str | None) -> tuple[OmeAxis, tuple[str, ...]]:
    """Make an axis from the size of a pixel in a unit.

    Parameters
    ----------
    letter : str
    size : float or None
        None if it is unknown.
    unit : str or None
        Symbol or name.

    Returns
    -------
    axis : OmeAxis
    lost : tuple of str
        Description of a unit that OME-Zarr does not know.
    """
    if size is None:
        return OmeAxis.of(letter), ()
    known = unit_symbol(unit)
    name = _UNIT_NAMES.get(known or "")
    is_lost = name is None and known not in (None, "", "pixel")
    return OmeAxis.of(letter, name, size), (f"the unit {unit!r}",) if is_lost else ()


def ome_of_sizes(
    axes: str, sizes: Mapping[str, float], units: Mapping[str, str | None]
) -> OmeMetadata | None:
    """Make metadata from the sizes of a pixel, each in a unit of its own.

    Parameters
    ----------
    axes : str
        One letter per axis.
    sizes : mapping
        Size of a pixel along an axis, where it is known.
    units : mapping
        Names or symbols of units, by axis; None is unknown.

    Returns
    -------
    OmeMetadata or None
        Units that OME-Zarr does not list are kept: it allows any. None for two axes or more
        beside T, Z, Y and X, which it does not allow.
    """
    if len(set(axes) - set("TZYX")) > 1:
        return None
    return OmeMetadata(
        tuple(
            OmeAxis.of(letter, _unit_name(units.get(letter)), sizes[letter])
            if 0 < sizes.get(letter, 0) < math.inf
            else OmeAxis.of(letter)
            for letter in axes
        )
    )


def _unit_name(unit: str | None) -> str | None:
    return _UNIT_NAMES.get(unit_symbol(unit) or "", unit)


def ome_json(ome: OmeMetadata, levels: int) -> dict[str, Any]:
    """The attribute ``ome`` of a group whose levels are halved in Y and X.

    Parameters
    ----------
    ome : OmeMetadata
        In the order of the stored axes.
    levels : int
        Number of levels, named 0, 1, ...
    """
    multiscales: dict[str, Any] = {
        "axes": [axis.as_json() for axis in ome.axes],
        "datasets": [
            {"path": str(level), "coordinateTransformations": _transformations(ome.axes, level)}
            for level in range(levels)
        ],
        "type": "mean",
    }
    if ome.name is not None:
        multiscales["name"] = ome.name
    omero = {} if ome.omero is None else {"omero": ome.omero}
    return {"version": VERSION, "multiscales": [multiscales], **omero}


def _transformations(axes: Sequence[OmeAxis], level: int) -> list[dict[str, Any]]:
    factors = [2**level if axis.is_in_plane else 1 for axis in axes]
    # A pixel's position is that of its centre, which is between those of the finer level.
    translation = [
        axis.translation + axis.scale * (factor - 1) / 2
        for axis, factor in zip(axes, factors, strict=True)
    ]
    scale = [axis.scale * factor for axis, factor in zip(axes, factors, strict=True)]
    found: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    if any(translation):
        found.append({"type": "translation", "translation": translation})
    return found
