"""Dataclasses of plain values as JSON has them, and back, without a digit lost."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Plain values; numbers that JSON does not have become the words Infinity and NaN."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value):
        return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple | list):
        return [to_json(part) for part in value]
    if isinstance(value, float):
        if math.isnan(value):
            return "NaN"
        return float(value) if math.isfinite(value) else f"{'-' * (value < 0)}Infinity"
    return value


def from_json(kind: type[T], values: Any) -> T:
    """Make a dataclass of what `to_json` wrote of one.

    Raises
    ------
    ValueError
        When the values do not fit it.
    """
    found: T = TypeAdapter(kind).validate_python(values)
    return found
