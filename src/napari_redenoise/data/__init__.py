"""Axes, normalisation and patches."""

from napari_redenoise.data._axes import ArrayLike, Planes, default_axes
from napari_redenoise.data._pool import Normalisation, Pool, load_pool, patches

__all__ = ["ArrayLike", "Normalisation", "Planes", "Pool", "default_axes", "load_pool", "patches"]
