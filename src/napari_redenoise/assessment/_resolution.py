"""The supported resolution: the finest scale of detail that the photons support."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_redenoise.assessment._perturbation import draw_photon_loss
from napari_redenoise.assessment._spectra import Blocks, band_of
from napari_redenoise.assessment._thresholds import (
    FEWEST_BLOCKS,
    LEAST_SNR,
    STANDARD_ERRORS,
    SUPPORTED,
)
from napari_redenoise.noise import NoiseModel

Floats = npt.NDArray[np.float64]
Denoiser = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]
"""Denoises a window (channels, rows, columns) of grey levels."""

FINEST = 2.0
"""Pixels per cycle at the Nyquist frequency."""

SHARE = 0.05
"""Share of the photons that is removed. With 0.3 a network smooths so much more that correlations
of 0.5 appear as 0.65 to 0.8; with 0.02 the random errors are larger than the bias."""

DRAWS, DRAWS_OF_MAP = 1, 2
"""More draws hardly lower the standard errors of bands; a map averages over fewer pixels."""

_LOCAL = 12.0
"""Standard deviation of the averaging Gaussian of the map, in pixels."""


class Noise(NamedTuple):
    """White noise, and the excess of its third cumulant over that of photons."""

    model: NoiseModel
    excess: float = 1.0


@dataclass(frozen=True)
class Band:
    """Agreement of a result with the signal between two scales.

    Attributes
    ----------
    coarse, fine : float
        Pixels per cycle.
    correlation, error : float
        Correlation of the result with the noise-free image, and its standard error; NaN where
        the signal does not stand out from the noise.
    share : float
        Share of the power of the result in all bands.
    """

    coarse: float
    fine: float
    correlation: float
    error: float
    share: float

    @property
    def scale(self) -> float:
        """Geometric mean of both ends, in pixels per cycle."""
        return math.sqrt(self.coarse * self.fine)


@dataclass(frozen=True)
class Resolution:
    """Detail of a denoised image that the photons of the noisy image support.

    Attributes
    ----------
    bands : tuple of Band
        The coarsest first.
    """

    bands: tuple[Band, ...]

    @property
    def supported(self) -> float:
        """Finest scale with a correlation of 0.7, in pixels per cycle; infinite without one."""
        known = [band for band in self.bands if not math.isnan(band.correlation)]
        last: Band | None = None
        for band in known:
            if band.correlation < SUPPORTED:
                return math.inf if last is None else _crossing(last, band)
            last = band
        return math.inf if last is None else last.fine

    @property
    def unsupported_contrast(self) -> float:
        """RMS of the result at finer scales relative to all bands, 0 to 1."""
        limit = self.supported
        power = sum(band.share * _part_finer(band, limit) for band in self.bands)
        return math.sqrt(min(power, 1.0))


def _crossing(above: Band, below: Band) -> float:
    """Scale at which the correlation is 0.7, interpolated over the logarithm of the scale."""
    part = (above.correlation - SUPPORTED) / (above.correlation - below.correlation)
    return float(above.scale * (below.scale / above.scale) ** part)


def _part_finer(band: Band, scale: float) -> float:
    """Part of a band that is finer than a scale, in octaves."""
    if math.isinf(scale):
        return 1.0
    part = math.log(scale / band.fine) / math.log(band.coarse / band.fine)
    return min(max(part, 0.0), 1.0)


@dataclass(frozen=True)
class NoiseResponse:
    """Images of one channel (rows, columns), with the response of a denoiser to noise.

    Attributes
    ----------
    noisy, denoised : ndarray
        Finite; equal where no pixels are known.
    variance : ndarray
        Expected variance of the noise.
    known : ndarray of bool
        Where pixels are finite and not clipped.
    drawn, response : tuple of ndarray
        Drawn noise, and the response of the denoiser to it. Their mean product equals that of the
        noise and of the noise that remains in the result.
    """

    noisy: Floats
    denoised: Floats
    variance: Floats
    known: npt.NDArray[np.bool_]
    drawn: tuple[Floats, ...]
    response: tuple[Floats, ...]


def measure_response(
    noisy: npt.NDArray[np.generic],
    denoised: npt.NDArray[np.generic],
    denoiser: Denoiser,
    noises: Sequence[Noise],
    *,
    limits: Sequence[tuple[float, float]] = (),
    should_stop: Callable[[], bool] = lambda: False,
    draws: int = DRAWS,
    seed: int = 0,
) -> tuple[NoiseResponse, ...] | None:
    """Denoise a window again with a small share of its photons removed.

    Parameters
    ----------
    noisy, denoised : (channels, rows, columns)
    denoiser : callable
    noises : sequence of Noise
        One per channel.
    limits : sequence of (float, float), optional
        One per channel: pixels at or beyond these levels are clipped, and no noise is drawn there.
    should_stop : callable
        Polled between predictions.
    draws : int
        Number of draws, with one prediction each, beside one prediction without.
    seed : int

    Returns
    -------
    tuple of NoiseResponse or None
        One per channel; None when stopped.
    """
    before, after = noisy.astype(np.float64), denoised.astype(np.float64)
    known = np.isfinite(before) & np.isfinite(after)
    for plane, (low, high) in enumerate(limits):
        known[plane] &= (before[plane] > low) & (before[plane] < high)
    filled = np.where(np.isfinite(before), before, _mean_of_finite(before))
    rng = np.random.default_rng(seed)
    reference = _denoised(denoiser, before)
    lost, response = [], []
    for _ in range(draws):
        if should_stop():
            return None
        lost.append(np.where(known, _lost(filled, noises, rng), 0))
        response.append(_denoised(denoiser, before - lost[-1]) - reference)
    if should_stop():
        return None
    results = np.where(np.isfinite(after), after, filled)
    return tuple(
        NoiseResponse(
            # Unknown pixels have no noise there: take the result for the noisy image.
            np.where(known[n], filled[n], results[n]),
            results[n],
            np.where(known[n], noise.model.variance(results[n]), 0),
            known[n],
            tuple(-part[n] / SHARE for part in lost),
            tuple(np.nan_to_num(part[n]) for part in response),
        )
        for n, noise in enumerate(noises)
    )


def _lost(filled: Floats, noises: Sequence[Noise], rng: np.random.Generator) -> Floats:
    """The photon loss of every channel."""
    planes = zip(filled, noises, strict=True)
    return np.stack(
        [draw_photon_loss(plane, n.model, SHARE, rng, excess=n.excess) for plane, n in planes]
    )


def _denoised(denoiser: Denoiser, window: Floats) -> Floats:
    """A denoised window, NaN at pixels that are not finite: two infinities have no difference."""
    denoised = np.asarray(denoiser(window.astype(np.float32)), np.float64)
    return np.where(np.isfinite(denoised), denoised, np.nan)


def _mean_of_finite(planes: Floats) -> Floats:
    """Mean of every plane, (channels, 1, 1); 0 without a finite pixel."""
    finite = np.isfinite(planes)
    total = np.where(finite, planes, 0).sum((1, 2), keepdims=True)
    return np.asarray(total / np.maximum(finite.sum((1, 2), keepdims=True), 1))


def measure_resolution(images: NoiseResponse) -> Resolution | None:
    """Measure the correlation with the signal in every band of scales.

    Returns
    -------
    Resolution or None
        None where fewer than four blocks of at least 32 x 32 pixels are known.

    Notes
    -----
    With y = x + n the noisy image, d(y) the result, and sums over the frequencies of a band,
    ``r = <x d> / sqrt(<d d> <x x>)``, where ``<x d> = <y d> - <n d>`` and
    ``<x x> = <y y> - <n n>``. White noise has the same power at all frequencies. Photon thinning
    measures how much noise remains in the result: where a share ``a`` of the noise is drawn as
    ``e``, ``<e (d(y + e) - d(y))> / a`` has the mean of ``<n d>``. The share is small, so r is that
    of the result itself. Standard errors are of a jackknife over the blocks.

    References
    ----------
    S. Ramani, T. Blu, M. Unser, "Monte-Carlo SURE", IEEE TIP 17 (2008).
    B. Monroy, J. Bacca, J. Tachella, "Generalized Recorrupted-to-Recorrupted", CVPR 2025.
    """
    blocks = Blocks(images.known)
    if len(blocks.corners) < FEWEST_BLOCKS:
        return None
    noisy, denoised = blocks.spectra(images.noisy), blocks.spectra(images.denoised)
    pairs = zip(images.drawn, images.response, strict=True)
    let_through = [blocks.cross(blocks.spectra(e), blocks.spectra(c)) for e, c in pairs]
    common = blocks.cross(noisy, denoised) - np.mean(let_through, axis=0)
    power = blocks.cross(denoised, denoised)
    noise = blocks.white(images.variance)
    signal = blocks.cross(noisy, noisy) - noise
    correlation, error = _jackknife(common, power, signal)
    correlation[~_stands_out(signal.sum(0), noise.sum(0), blocks.modes)] = np.nan
    shares = power.sum(0) / max(power.sum(), np.finfo(np.float64).tiny)
    bands = zip(blocks.edges[:-1], blocks.edges[1:], correlation, error, shares, strict=True)
    return Resolution(tuple(Band(*map(float, values)) for values in bands))


def _stands_out(signal: Floats, noise: Floats, modes: Floats) -> npt.NDArray[np.bool_]:
    """Bands whose signal power exceeds the uncertainty of the noise power."""
    chance = noise * np.sqrt(2 / np.maximum(modes, 1))
    return np.asarray((signal > LEAST_SNR * noise) & (signal > STANDARD_ERRORS * chance))


def _jackknife(common: Floats, power: Floats, signal: Floats) -> tuple[Floats, Floats]:
    """Correlation of every band and its standard error."""

    def correlations(*sums: Floats) -> Floats:
        both, one, other = sums
        norm = np.sqrt(np.maximum(one * other, 0))
        return np.divide(both, norm, out=np.zeros_like(both), where=norm > 0)

    totals = [part.sum(0) for part in (common, power, signal)]
    found = correlations(*totals)
    parts = zip(totals, (common, power, signal), strict=True)
    without = correlations(*(total - part for total, part in parts))
    count = len(common)
    spread = ((without - without.mean(0)) ** 2).sum(0)
    return np.clip(found, -1.0, 1.0), np.sqrt((count - 1) / count * spread)


def map_unsupported_detail(
    images: NoiseResponse, coarse: float, fine: float
) -> npt.NDArray[np.float32]:
    """Map where detail between two scales is not supported.

    Parameters
    ----------
    images : NoiseResponse
    coarse, fine : float
        Pixels per cycle.

    Returns
    -------
    ndarray
        (rows, columns), 0 to 1: one minus the local correlation with the signal, averaged over
        about 24 pixels. NaN where most of these are unknown, 1 where no signal exceeds the noise.
    """

    def local(product: Floats) -> Floats:
        return np.asarray(ndimage.gaussian_filter(product, _LOCAL, mode="reflect"))

    noisy, denoised = (band_of(part, coarse, fine) for part in (images.noisy, images.denoised))
    common = noisy * denoised
    for drawn, response in zip(images.drawn, images.response, strict=True):
        product = band_of(drawn, coarse, fine) * band_of(response, coarse, fine)
        common = common - product / len(images.drawn)
    area = math.pi * (1 / fine**2 - 1 / coarse**2)
    noise = local(images.variance) * area
    signal = local(noisy**2) - noise
    norm = np.sqrt(local(denoised**2) * np.maximum(signal, LEAST_SNR * noise))
    correlation = np.divide(local(common), norm, out=np.zeros_like(norm), where=norm > 0)
    found = 1 - np.clip(correlation, 0, 1)
    known = local(images.known.astype(np.float64)) >= 0.5
    return np.where(known, found, np.nan).astype(np.float32)
