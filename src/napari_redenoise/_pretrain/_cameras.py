"""What cameras do to light: the noise that the warm start has seen.

Every camera is drawn at random: photons per pixel from 2 to 300 at the brightest, Poisson noise, in
some the excess noise of an electron multiplier, read noise, and in some of them noise of rows or
columns, noise smeared over neighbours, hot pixels, few grey levels, clipping at both ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Light = npt.NDArray[np.floating]

FEWEST_PHOTONS, MOST_PHOTONS = 2.0, 300.0


@dataclass(frozen=True)
class Camera:
    """One camera, in units of photons.

    Attributes
    ----------
    photons : float
        Expected at light 1.
    background : float
        Expected everywhere, beside the light.
    excess : bool
        Whether an electron multiplier doubles the variance of the photons.
    read_noise : float
        Standard deviation of Gaussian noise.
    rows, columns : float
        Standard deviation of an offset that a row, or a column, has in common.
    smear : tuple of float
        Share of the noise that a pixel takes over from either neighbour along y and along x.
    hot : float
        Share of pixels with much extra light.
    step : float
        Grey levels are multiples of it; 0 for none.
    clipped : tuple of float
        Share of the pixels that is clipped at the dark and at the bright end.
    """

    photons: float
    background: float = 0.0
    excess: bool = False
    read_noise: float = 0.0
    rows: float = 0.0
    columns: float = 0.0
    smear: tuple[float, float] = (0.0, 0.0)
    hot: float = 0.0
    step: float = 0.0
    clipped: tuple[float, float] = (0.0, 0.0)

    def expected(self, light: Light) -> npt.NDArray[np.float64]:
        """What is to be found: photons per pixel without noise."""
        return np.asarray(self.photons * light + self.background, np.float64)

    def shot(self, light: Light, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """One picture of a light (Y, X), with noise."""
        expected = self.expected(light)
        seen = rng.poisson(expected).astype(np.float64)
        if self.excess:
            # The multiplier's output of k electrons is gamma distributed (Hirsch et al. 2013).
            seen = np.where(seen > 0, rng.gamma(np.maximum(seen, 1e-9)), 0.0)
        seen += rng.normal(0.0, self.read_noise, seen.shape)
        seen += rng.normal(0.0, self.rows, (seen.shape[0], 1))
        seen += rng.normal(0.0, self.columns, (1, seen.shape[1]))
        if any(self.smear):
            seen = expected + self._smeared(seen - expected)
        if self.hot:
            bright = rng.exponential(3 * (self.photons + self.background), seen.shape)
            seen += np.where(rng.random(seen.shape) < self.hot, bright, 0.0)
        return self._digitised(seen)

    def _smeared(self, noise: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Noise that neighbours share, of the same variance."""
        for axis, share in enumerate(self.smear):
            taps = np.array([share, 1.0, share])
            taps /= np.linalg.norm(taps)
            noise = ndimage.convolve1d(noise, taps, axis=axis, mode="wrap")
        return noise

    def _digitised(self, seen: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        if self.step:
            seen = np.rint(seen / self.step) * self.step
        if any(self.clipped):
            low, high = np.quantile(seen, (self.clipped[0], 1 - self.clipped[1]))
            seen = np.clip(seen, low, high)
        return seen


def camera(rng: np.random.Generator) -> Camera:
    """Draw a camera: most have white noise, every flaw occurs in some."""

    def sometimes(share: float, low: float, high: float) -> float:
        return float(rng.uniform(low, high)) if rng.random() < share else 0.0

    photons = float(np.exp(rng.uniform(np.log(FEWEST_PHOTONS), np.log(MOST_PHOTONS))))
    background = photons * sometimes(0.7, 0.0, 1.0)
    # Deviation of the noise at half of the light, to which the flaws are compared.
    deviation = float(np.sqrt(0.5 * photons + background))
    read_noise = deviation * sometimes(0.6, 0.0, 1.5)
    deviation = float(np.hypot(deviation, read_noise))
    smeared = rng.choice(("no", "x", "y", "both"), p=(0.8, 0.1, 0.03, 0.07))
    share = float(rng.uniform(0.05, 0.6))
    return Camera(
        photons=photons,
        background=background,
        excess=bool(rng.random() < 0.2),
        read_noise=read_noise,
        rows=deviation * sometimes(0.06, 0.05, 0.6),
        columns=deviation * sometimes(0.06, 0.05, 0.6),
        smear=(share * (smeared in ("y", "both")), share * (smeared in ("x", "both"))),
        hot=sometimes(0.05, 0.0, 2e-3),
        step=deviation * sometimes(0.25, 0.05, 1.5),
        clipped=(sometimes(0.2, 0.0, 0.01), sometimes(0.2, 0.0, 0.005)),
    )
