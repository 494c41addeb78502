"""Units of length and time."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

SECOND = "s"

_METRES = {
    "fm": 1e-15,
    "pm": 1e-12,
    "Å": 1e-10,
    "nm": 1e-9,
    "µm": 1e-6,
    "mm": 1e-3,
    "cm": 1e-2,
    "dm": 1e-1,
    "m": 1.0,
    "km": 1e3,
    "thou": 2.54e-5,
    "in": 2.54e-2,
    "ft": 0.3048,
    "pt": 2.54e-2 / 72,
}
_SECONDS = {
    "ps": 1e-12,
    "ns": 1e-9,
    "µs": 1e-6,
    "ms": 1e-3,
    "cs": 1e-2,
    SECOND: 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_SYMBOLS = {
    "um": "µm",
    "micron": "µm",
    "angstrom": "Å",
    "inch": "in",
    "inches": "in",
    "pixel": "pixel",
    "px": "pixel",
    "mil": "thou",
    "point": "pt",
    "us": "µs",
    "sec": SECOND,
    "msec": "ms",
    "usec": "µs",
    "minute": "min",
    "hour": "h",
    "hr": "h",
    "day": "d",
}
_PREFIXES = {"femto": "f", "pico": "p", "nano": "n", "micro": "µ", "milli": "m", "centi": "c",
             "deci": "d", "kilo": "k", "": ""}  # fmt: skip
_SYMBOLS |= {
    f"{prefix}{name}": f"{short}{symbol}"
    for prefix, short in _PREFIXES.items()
    for name, symbol in (("meter", "m"), ("metre", "m"), ("second", SECOND))
}


class ImagejScale(NamedTuple):
    """A scale in ImageJ's terms, as in an `ImageFile`."""

    metadata: dict[str, Any]
    resolution: tuple[float, float] | None = None
    resolution_unit: int | None = None


def in_micrometres(
    resolution: tuple[float, float] | None, spacing: float | None, seconds: float | None
) -> ImagejScale:
    """The scale of a microscope's own file, in pixels per µm, µm and seconds, as far as known."""
    sizes = {"spacing": spacing, "finterval": seconds}
    metadata: dict[str, Any] = {name: size for name, size in sizes.items() if size}
    if resolution is None:
        return ImagejScale(metadata)
    return ImagejScale({**metadata, "unit": "µm"}, resolution, 1)


def in_one_unit(
    metadata: Mapping[str, Any],
    resolution: tuple[float, float] | None,
    units: Mapping[str, str | None],
) -> tuple[dict[str, Any], tuple[float, float] | None]:
    """Convert sizes of other units to ImageJ's: lengths to that of x, times to seconds.

    Parameters
    ----------
    metadata : mapping
        With ``unit``, that of x, and ``spacing`` and ``finterval``, as far as known.
    resolution : tuple of (float, float), or None
        Pixels per unit along x and y.
    units : mapping
        Units of the axes Y, Z and T that have one of their own.

    Returns
    -------
    metadata : dict
        Sizes that cannot be converted become text with their unit.
    resolution : tuple of (float, float), or None
        NaN along y if that cannot be converted.
    """
    unit, known = metadata.get("unit"), dict(metadata)
    for name, axis, target in (("spacing", "Z", unit), ("finterval", "T", SECOND)):
        if axis in units and known.get(name) is not None:
            known[name] = _converted(known[name], units[axis], target)
    if resolution is not None and "Y" in units:
        factor = conversion(units["Y"], unit)
        across, down = resolution
        resolution = (across, math.nan if factor is None else down / factor)
    return known, resolution


def conversion(unit: Any, target: Any) -> float | None:
    """Factor from one unit to another; None if there is none.

    Parameters
    ----------
    unit, target : str or None
        Symbols or names, of lengths or times; None is unknown.
    """
    one, other = unit_symbol(unit), unit_symbol(target)
    if one == other:
        return 1.0
    for table in (_METRES, _SECONDS):
        if one in table and other in table:
            return table[one] / table[other]
    return None


def unit_symbol(unit: Any) -> str | None:
    """Return the symbol of a unit, ``"µm"`` for ``"microns"``; unknown units are unchanged."""
    if unit is None:
        return None
    # ImageJ escapes letters beyond ASCII; the Greek letter and the sign of micro look the same.
    text = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda found: chr(int(found[1], 16)), str(unit))
    text = text.strip().replace("μ", "µ")
    name = text.lower()
    return _SYMBOLS.get(name) or _SYMBOLS.get(name.removesuffix("s"), text)


def _converted(size: Any, unit: Any, target: Any) -> Any:
    factor = conversion(unit, target)
    if factor == 1:
        return size
    if factor is None:
        return f"{size} {unit or 'of unknown unit'}"
    try:
        # Twelve digits hide the rounding of the factor.
        return float(f"{float(size) * factor:.12g}")
    except (TypeError, ValueError):
        return size
