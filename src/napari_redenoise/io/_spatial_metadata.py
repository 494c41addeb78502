"""Pixel size, units and frame interval that a TIFF can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import tifffile

from napari_redenoise.io._units import conversion

Rational = tuple[int, int]

_MOST = 2**32 - 1
_SIZES = {"spacing": "distance of planes", "finterval": "frame interval"}


@dataclass(frozen=True)
class Scale:
    """The scale that is written to a TIFF.

    Attributes
    ----------
    metadata : dict
        ``spacing``, ``unit`` and ``finterval`` in ImageJ's terms, if known.
    resolution : tuple of (int, int), or None
        Pixels per unit along x and y, as fractions.
    unit : int or None
        The ``ResolutionUnit`` of TIFF.
    lost_metadata : tuple of str
        Descriptions of the metadata that cannot be written.
    """

    metadata: dict[str, Any] = field(default_factory=dict)
    resolution: tuple[Rational, Rational] | None = None
    unit: int | None = None
    lost_metadata: tuple[str, ...] = ()


def scale_of(metadata: Mapping[str, Any], resolution: Any, unit: Any) -> Scale:
    """Select the scale that a file can hold: sizes above 0, and units that are text.

    Parameters
    ----------
    metadata : mapping
        Of the source; only its scale is used.
    resolution : tuple of float, or None
        Pixels per unit along x and y.
    unit : int or None
        The ``ResolutionUnit`` of TIFF.
    """
    kept: dict[str, Any] = {}
    lost_metadata: list[str] = []
    rationals = None if resolution is None else tuple(map(_rational, resolution))
    if rationals is not None and (len(rationals) != 2 or None in rationals):
        lost_metadata.append(f"the resolution {resolution} pixels per unit")
        rationals = None
    for name, words in _SIZES.items():
        size = as_number(metadata.get(name))
        if size is not None and 0 < size < math.inf:
            kept[name] = size
        elif metadata.get(name) is not None:
            lost_metadata.append(f"the {words} {metadata[name]!r}")
    text = metadata.get("unit")
    if isinstance(text, str) and text and text.isprintable():
        kept["unit"] = text
    elif text is not None:
        lost_metadata.append(f"the unit {text!r}")
    if rationals is None and (resolution is not None or "unit" in kept):
        # Readers interpret a unit without a resolution as a pixel size of 1.
        why = "with it" if resolution is not None else "without a pixel size"
        lost_metadata += [
            f"the {what} {why}" for what in ("unit", "spacing") if kept.pop(what, None)
        ]
    valid = {int(known) for known in tifffile.RESUNIT}
    number = unit if unit in valid else int(tifffile.RESUNIT.NONE)
    return Scale(
        kept,
        rationals,  # type: ignore[arg-type]
        None if unit is None or rationals is None else number,
        tuple(lost_metadata),
    )


def per_centimetre(scale: Scale) -> Scale:
    """Give the resolution in pixels per centimetre, as TIFF readers know it, if there is a length.

    Files of tifffile have the unit in a description that other programs do not read.
    """
    factor = conversion("cm", scale.metadata.get("unit"))
    if factor is None or scale.resolution is None:
        return scale
    across, down = (_rational(factor * one / per) for one, per in scale.resolution)
    if across is None or down is None:
        return scale
    return replace(scale, resolution=(across, down), unit=int(tifffile.RESUNIT.CENTIMETER))


def as_number(value: Any) -> float | None:
    """Convert a metadata value to a number; None if that is not possible."""
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def per_unit(value: Any) -> float | None:
    """Convert a resolution tag, usually a fraction, to a number; None if it is unknown."""
    try:
        numerator, denominator = value
        value = numerator / denominator
    except ZeroDivisionError:
        return None
    except (TypeError, ValueError):
        pass
    return as_number(value) or None


def _rational(value: Any) -> Rational | None:
    """The nearest fraction of two 32-bit integers; None if the value is out of range."""
    number = as_number(value)
    if number is None or not 1 / _MOST <= number <= _MOST:
        return None
    # Both parts must fit: above 1 the numerator is the larger one.
    fraction = Fraction(number).limit_denominator(int(min(_MOST, _MOST / number)))
    return fraction.numerator, fraction.denominator
