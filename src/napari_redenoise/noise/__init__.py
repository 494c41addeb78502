"""What the noise is."""

from napari_redenoise.noise._synthetic import poisson_gaussian

__all__ = ["poisson_gaussian"]
