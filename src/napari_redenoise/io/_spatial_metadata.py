"""Pixel size, units and frame interval, as far as a TIFF can hold them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import tifffile

Rational = tuple[int, int]

_MOST = 2**32 - 1
_SIZES = {"spacing": "distance of planes", "finterval": "frame interval"}


@dataclass(frozen=True)
class Scale:
    """What is written of a scale.

    Attributes
    ----------
    metadata : dict
        ``spacing``, ``unit`` and ``finterval`` in ImageJ's terms, where they are known.
    resolution : tuple of (int, int), or None
        Pixels per unit along x and y, as TIFF holds them.
    unit : int or None
        The ``ResolutionUnit`` of TIFF.
    lost_metadata : tuple of str
        In words, what the source says that cannot be written.
    """

    metadata: dict[str, Any] = field(default_factory=dict)
    resolution: tuple[Rational, Rational] | None = None
    unit: int | None = None
    lost_metadata: tuple[str, ...] = ()


def scale_of(metadata: Mapping[str, Any], resolution: Any, unit: Any) -> Scale:
    """Keep of a scale what a file can say: sizes above 0, and units that are text.

    Parameters
    ----------
    metadata : mapping
        Of the source; only its scale is looked at.
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
    if resolution is not None and rationals is None:
        # Readers take a unit without a resolution for pixels of the size 1.
        lost_metadata += [
            f"the {what} with it" for what in ("unit", "spacing") if kept.pop(what, None)
        ]
    valid = {int(known) for known in tifffile.RESUNIT}
    number = unit if unit in valid else int(tifffile.RESUNIT.NONE)
    return Scale(
        kept,
        rationals,  # type: ignore[arg-type]
        None if unit is None or rationals is None else number,
        tuple(lost_metadata),
    )


def as_number(value: Any) -> float | None:
    """A number of metadata, which may be text or anything else; None where it is none."""
    if isinstance(value, bool):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def per_unit(value: Any) -> float | None:
    """A resolution as a TIFF's tag holds it, two integers as a rule; None where it is not known."""
    try:
        numerator, denominator = value
        value = numerator / denominator
    except ZeroDivisionError:
        return None
    except (TypeError, ValueError):
        pass
    return as_number(value) or None


def _rational(value: Any) -> Rational | None:
    """The nearest fraction of two integers of 32 bits; None where none is near."""
    number = as_number(value)
    if number is None or not 1 / _MOST <= number <= _MOST:
        return None
    # Both parts have to fit, and numbers above 1 have the larger numerator.
    fraction = Fraction(number).limit_denominator(int(min(_MOST, _MOST / number)))
    return fraction.numerator, fraction.denominator
