"""An array that reads its pixels when it is indexed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class LazyArray:
    """A view that reads its pixels when it is indexed.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
    read : callable
        Returns the pixels of a key, which has one int or slice per axis.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[Any], npt.NDArray[Any]]

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __getitem__(self, key: Any) -> npt.NDArray[Any]:
        return self.read(key)
