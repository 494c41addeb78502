"""Dataclasses of plain values as JSON has them, and back, without a digit lost."""

from __future__ import annotations

import json
from typing import Any, Self

from pydantic import ConfigDict, TypeAdapter


class Stored:
    """A dataclass that can be stored."""

    __pydantic_config__ = ConfigDict(ser_json_inf_nan="strings")

    def as_json(self) -> dict[str, Any]:
        """Plain values, of which `from_json` makes the same.

        Returns
        -------
        dict
            As JSON has them: numbers that it does not have are the words Infinity and NaN.
        """
        return dict(json.loads(TypeAdapter(type(self)).dump_json(self)))

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Make what `as_json` wrote.

        Parameters
        ----------
        values : dict

        Returns
        -------
        object of this class

        Raises
        ------
        ValueError
            When the values do not fit it.
        """
        made: Self = TypeAdapter(cls).validate_python(values)
        return made
