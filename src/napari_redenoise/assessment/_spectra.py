"""Power and cross-spectra of images in bands of scales, block by block."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from napari_redenoise.assessment._thresholds import KNOWN

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

LARGEST_BLOCK, SMALLEST_BLOCK = 128, 32
COARSEST = 32.0
"""Pixels per cycle."""

_PER_OCTAVE = 2
_LEAST_CYCLES = 4
"""Cycles of the coarsest scale in a block: the taper blurs scales with fewer."""


@dataclass(frozen=True)
class Blocks:
    """Tapered blocks of a plane, which overlap by half.

    Parameters
    ----------
    known : (rows, columns) of bool
        Blocks with more than 5 % unknown pixels are ignored.

    Notes
    -----
    Blocks use the pixels near the rim of the plane, and their scatter gives standard errors.
    """

    known: Bools
    size: int = field(init=False)

    def __post_init__(self) -> None:
        half = max(min(self.known.shape) // 2, 1)
        size = 2 ** int(np.log2(half))
        object.__setattr__(self, "size", int(np.clip(size, SMALLEST_BLOCK, LARGEST_BLOCK)))

    @cached_property
    def edges(self) -> Floats:
        """Edges of the bands in pixels per cycle, coarsest first."""
        octaves = np.log2(min(COARSEST, self.size / _LEAST_CYCLES)) - 1
        return np.asarray(2.0 ** (1 + octaves - np.arange(_PER_OCTAVE * octaves + 1) / _PER_OCTAVE))

    @cached_property
    def corners(self) -> list[tuple[slice, slice]]:
        """Rows and columns of the blocks."""
        places = (self._along(side) for side in self.known.shape)
        blocks = (
            (slice(row, row + self.size), slice(column, column + self.size))
            for row, column in itertools.product(*places)
        )
        return [block for block in blocks if self.known[block].mean() >= KNOWN]

    def _along(self, side: int) -> list[int]:
        if side < self.size:
            return []
        count = 1 + round(2 * (side - self.size) / self.size)
        return [int(place) for place in np.linspace(0, side - self.size, count)]

    def spectra(self, plane: Floats) -> npt.NDArray[np.complex128]:
        """Fourier transforms of all blocks minus their means, (blocks, frequencies)."""
        taper, total = self._taper, self._taper.sum()
        blocks = np.stack([plane[block] for block in self.corners])
        means = (blocks * taper).sum((1, 2), keepdims=True) / total
        transformed: npt.NDArray[np.complex128] = np.fft.rfft2((blocks - means) * taper)
        return transformed

    def cross(self, one: npt.NDArray[np.complex128], other: npt.NDArray[np.complex128]) -> Floats:
        """Real part of the cross-spectrum, summed over each band: (blocks, bands)."""
        products = (np.conj(one) * other).real * self._twice
        return self._summed(products)

    def white(self, variance: Floats) -> Floats:
        """Expected power of white noise of a variance (rows, columns)."""
        power = np.array([(variance[block] * self._taper**2).sum() for block in self.corners])
        modes = self._summed(np.broadcast_to(self._twice, (1, *self._bands.shape)))
        return np.asarray(power[:, None] * modes)

    @cached_property
    def modes(self) -> Floats:
        """Approximate number of independent values in the power of each band."""
        # Blocks overlap by half along both axes.
        pixels = len(self.corners) * self.size**2 / 4
        return np.asarray(pixels * np.pi * np.diff(1 / self.edges**2))

    def _summed(self, spectra: Floats) -> Floats:
        bands = range(len(self.edges) - 1)
        return np.stack([spectra[:, self._bands == band].sum(1) for band in bands], axis=1)

    @cached_property
    def _taper(self) -> Floats:
        along = np.hanning(self.size + 1)[:-1]
        return np.asarray(along[:, None] * along)

    @cached_property
    def _twice(self) -> Floats:
        """Multiplicity of the frequencies of the half plane that is computed."""
        x = np.fft.rfftfreq(self.size)
        once = (x == 0) | (x == 0.5)
        return np.asarray(np.broadcast_to(np.where(once, 1.0, 2.0), self._bands.shape))

    @cached_property
    def _bands(self) -> npt.NDArray[np.intp]:
        """Band index of every frequency; -1 and indices beyond the last mean no band."""
        at = frequencies((self.size, self.size))
        return np.asarray(np.digitize(at, 1 / self.edges) - 1)


def frequencies(shape: tuple[int, ...]) -> Floats:
    """Cycles per pixel of the frequencies that `numpy.fft.rfft2` computes."""
    return np.asarray(np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])))


def band_of(plane: Floats, coarse: float, fine: float) -> Floats:
    """The band of a plane between two scales, in pixels per cycle."""
    at = frequencies(plane.shape)
    inside = (at >= 1 / coarse) & (at < 1 / fine)
    return np.asarray(np.fft.irfft2(np.fft.rfft2(plane) * inside, plane.shape))
