"""Gain, offset and read noise from one image, or from repeated acquisitions."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from scipy import special

from napari_redenoise.errors import ConfigError
from napari_redenoise.noise._autocorrelation import (
    LAGS,
    measure_autocorrelation,
    repeats_autocorrelation,
)
from napari_redenoise.noise._blocks import (
    COARSE,
    FINE,
    Blocks,
    expected_share,
    repeats_blocks,
    single_image_blocks,
)
from napari_redenoise.noise._histogram import Greys, grey_levels
from napari_redenoise.noise._noise_curve import (
    Line,
    calm_blocks,
    calmest_blocks,
    darkest_level,
    fit_line,
    level_bins,
    variance_points,
)
from napari_redenoise.noise._report import (
    Autocorrelation,
    NoiseModel,
    NoiseReport,
    Skewness,
    VariancePoint,
)
from napari_redenoise.noise._skewness import measure_skewness
from napari_redenoise.noise._thresholds import CORRECTED_CORRELATION, CUT_OFF, STANDARD_ERRORS
from napari_redenoise.noise._windows import SMALLEST_SIDE, ArrayLike, read_planes, read_repeats


def estimate_noise(image: ArrayLike) -> NoiseReport:
    """Measure the noise of one image, or of a stack of images of one kind.

    Parameters
    ----------
    image : array-like, (Y, X) or (N, Y, X)
        Integer or floating-point grey levels as the detector gave them: not denoised, not
        sharpened, no gamma. Pixels that are NaN or infinite are left out. Of large images a
        million pixels are read.

    Returns
    -------
    NoiseReport

    Raises
    ------
    InputError
        For the wrong number of axes, planes below 16 x 16, or an image of one value.

    Notes
    -----
    The variance is measured on the fine half of the cosine transforms of 8 x 8 blocks, in blocks
    whose coarse half shows no structure, and a line is fitted to it against the blocks' means
    (``_fit``). Correlated noise has less fine detail than white noise of the same variance: what
    its autocorrelation takes away is given back where a coefficient exceeds 0.1.

    The line has two numbers and the model three. Any offset from the level where the line meets
    zero (no read noise) to the mean of the darkest blocks (no light there) fits as well and gives
    the same variances; widened by the error of the line this is ``offset_range``, and the read
    noises that go with it are ``read_noise_range``. The model takes the upper end, which is right
    where the image has a dark background, unless the skewness of the noise puts the offset lower by
    more than two standard errors: photon noise is skewed and read noise is not (``_skewness``).
    Where the levels differ too little for that, offset and read noise are too large together on a
    background: of 40 photons, with a true read noise of 1.5 photons, 4.3 times as large.

    Structure as fine as the pixels in every block (sand, grass) is taken for noise in part;
    ``homogeneous`` is then a few per cent. Gain needs levels that differ: in an even image it is
    reported as 0 with a large ``gain_error``.
    """
    planes = read_planes(image)
    greys = grey_levels(planes)
    blocks = single_image_blocks(planes, greys.limits)
    bins = level_bins(blocks.level)
    calm = calm_blocks(blocks, bins)
    found = measure_autocorrelation(planes, blocks, calm, calm)
    line = fit_line(blocks, bins, greys, _shares(found))
    found = measure_autocorrelation(planes, blocks, calmest_blocks(blocks, line), line.used)
    line = fit_line(blocks, bins, greys, _shares(found))
    report = _report(greys, blocks, line, found, _shares(found)[1], 1)
    skewness = measure_skewness(planes, blocks, line)
    # What is cut off at the dark end makes the rest more skewed than it was.
    is_whole = greys.at_floor < CUT_OFF
    model = _with_background(report.model, skewness) if is_whole else report.model
    return replace(report, skewness=skewness, model=model)


def estimate_noise_from_repeats(frames: ArrayLike) -> NoiseReport:
    """Measure the noise from repeated acquisitions of a scene that did not move.

    Parameters
    ----------
    frames : array-like, (N, Y, X) with N >= 2

    Returns
    -------
    NoiseReport

    Raises
    ------
    InputError
        For fewer than two frames, planes below 16 x 16, or an image of one value.

    Notes
    -----
    The variance over the frames holds no structure, so textured images are no problem; movement
    and bleaching count as noise. A change of brightness of the whole frame does not. Of large
    movies 32 frames and two million pixels are read. What is said of the offset in
    `estimate_noise` holds here too.
    """
    windows = read_repeats(frames)
    greys = grey_levels(windows)
    blocks = repeats_blocks(windows, greys.limits)
    line = fit_line(blocks, level_bins(blocks.level), greys, (1.0, 1.0))
    found = repeats_autocorrelation(windows)
    return _report(greys, blocks, line, found, 1.0, int(frames.shape[0]))


def noise_autocorrelation(image: ArrayLike, lags: int = LAGS) -> Autocorrelation:
    """Correlation of the noise of one image with itself at lags 1, 2, ... along y and x.

    Parameters
    ----------
    image : array-like, (Y, X) or (N, Y, X)
    lags : int
        1 to 15.

    Raises
    ------
    InputError
        As `estimate_noise`.
    ConfigError
        For lags that the smallest image does not have.

    Notes
    -----
    Along x the signal is removed by a fourth difference along y, and the other way round, in the
    calmest blocks: smooth structure and edges vanish, and the correlation stays as it is when
    those along y and x are independent.
    """
    if not 1 <= lags < SMALLEST_SIDE:
        raise ConfigError(f"expected 1 to {SMALLEST_SIDE - 1} lags, got {lags}")
    planes = read_planes(image)
    greys = grey_levels(planes)
    blocks = single_image_blocks(planes, greys.limits)
    bins = level_bins(blocks.level)
    calm = calm_blocks(blocks, bins)
    found = measure_autocorrelation(planes, blocks, calm, calm)
    line = fit_line(blocks, bins, greys, _shares(found))
    return measure_autocorrelation(planes, blocks, calmest_blocks(blocks, line), line.used, lags)


def _shares(found: Autocorrelation) -> tuple[float, float]:
    """Energy of correlated noise in coarse and fine detail, by the coefficients that are large."""
    least = max(CORRECTED_CORRELATION, STANDARD_ERRORS * found.error)
    y, x = (tuple(c if abs(c) > least else 0.0 for c in along) for along in (found.y, found.x))
    strong = Autocorrelation(y, x, found.error)
    return expected_share(strong, COARSE), expected_share(strong, FINE)


def _report(
    greys: Greys,
    blocks: Blocks,
    line: Line,
    found: Autocorrelation,
    fine_share: float,
    frames: int,
) -> NoiseReport:
    model, offset_range = _model(greys, blocks, line)
    points = variance_points(blocks, line, fine_share)
    mean_variance = blocks.fine.mean() if frames > 1 else line.variance(np.array(greys.mean))
    low, high = greys.piled_up
    if line.floor.any():
        low = greys.at_floor
    elif line.cut or line.counts:
        # Of few pixels it cannot be told from the end of a tail.
        low = greys.at_floor if line.cut and greys.at_floor > CUT_OFF else 0.0
    return NoiseReport(
        model=model,
        gain_error=line.fit.error,
        slope=line.fit.measured,
        below=greys.below(offset_range[0]),
        offset_range=offset_range,
        noise_std=math.sqrt(float(mean_variance)),
        mean=greys.mean,
        autocorrelation=found,
        points=points,
        misfit=_misfit(model, points),
        homogeneous=line.homogeneous,
        clipped=(low, high),
        limits=greys.limits,
        step=greys.step,
        frames=frames,
    )


def _with_background(model: NoiseModel, skewness: Skewness | None) -> NoiseModel:
    """The model with the offset that the skewness tells, if that is below the darkest region.

    Where both agree the darkest region is the more exact.
    """
    if skewness is None or skewness.offset + 2 * skewness.offset_error > model.offset:
        return model
    offset = max(skewness.offset, model.without_read_noise().offset)
    return NoiseModel(model.gain, offset, math.sqrt(float(model.variance(offset))))


def _misfit(model: NoiseModel, points: tuple[VariancePoint, ...]) -> float:
    """Mean distance of points and line, relative to the mean of both."""
    measured = np.array([point.variance for point in points])
    predicted = model.variance([point.level for point in points])
    total = np.maximum(measured + predicted, np.finfo(float).tiny)
    apart = 2 * np.abs(measured - predicted) / total
    return float(np.average(apart, weights=[point.blocks for point in points]))


def _model(greys: Greys, blocks: Blocks, line: Line) -> tuple[NoiseModel, tuple[float, float]]:
    """Gain, offset and read noise of a line, and the offsets that would do as well."""
    slope, intercept = line.fit.slope, line.fit.intercept
    # On a gradient the dark blocks may be none of those that the line rests on.
    dark = min(
        darkest_level(blocks.level[chosen], line.fit, blocks.averaged)
        for chosen in (line.used, ~line.floor)
    )
    if line.floor.any():
        share, level = (float(v[line.floor].mean()) for v in (blocks.darkest, blocks.level))
        dark = min(dark, level_before_cutting(level, greys.limits[0], share))
    if slope == 0:
        return NoiseModel(0.0, dark, math.sqrt(max(intercept, 0.0))), (-math.inf, dark)
    without_read_noise = -intercept / slope
    # The line turns about its middle, within the error of its slope.
    far = float(blocks.level[line.used].mean()) - without_read_noise
    lowest = without_read_noise - 2 * far * line.fit.error / slope
    offset = max(dark, without_read_noise)
    read_variance = max(slope * dark + intercept, 0.0)
    return NoiseModel(slope, offset, math.sqrt(read_variance)), (min(lowest, dark), offset)


def level_before_cutting(level: float, floor: float, share: float) -> float:
    """Mean of a Gaussian of which a share was cut off at a floor and left a mean of ``level``.

    Notes
    -----
    With ``alpha = (mean - floor) / sigma`` the share is ``Phi(-alpha)`` and the mean that is left
    is ``floor + sigma (alpha Phi(alpha) + phi(alpha))``.
    """
    alpha = -float(special.ndtri(min(max(share, 1e-6), 1 - 1e-6)))
    density = math.exp(-(alpha**2) / 2) / math.sqrt(2 * math.pi)
    sigma = (level - floor) / (alpha * float(special.ndtr(alpha)) + density)
    return floor + alpha * sigma
