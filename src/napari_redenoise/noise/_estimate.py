"""Gain, offset and read noise from one image, or from repeated acquisitions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy import special

from napari_redenoise.errors import InputError
from napari_redenoise.noise._autocorrelation import measure_autocorrelation, repeats_autocorrelation
from napari_redenoise.noise._blocks import (
    COARSE,
    FINE,
    Blocks,
    difference_blocks,
    expected_share,
    repeats_blocks,
    single_image_blocks,
)
from napari_redenoise.noise._histogram import Histogram, histogram_of
from napari_redenoise.noise._noise_curve import (
    Line,
    darkest_level,
    fit_line,
    flat_blocks,
    flattest_blocks,
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
from napari_redenoise.noise._thresholds import (
    CORRECTED_CORRELATION,
    COUNTED_VARIANCE,
    CUT_OFF,
    FEW_PHOTONS,
    LARGE_PART,
    STANDARD_ERRORS,
)
from napari_redenoise.noise._windows import (
    ArrayLike,
    Floats,
    as_images,
    read_pairs,
    read_planes,
    read_repeats,
    square_blocks,
)

_FAINT_SIDE = 16
"""Pixels; side of the blocks that tell how much of an image has few photons."""


def estimate_noise(image: ArrayLike, pairs: Sequence[tuple[int, int]] = ()) -> NoiseReport:
    """Measure the noise of one image, or of a stack of similar images.

    Parameters
    ----------
    image : array-like, (Y, X) or (N, Y, X)
        Integer or floating-point grey levels of the detector: not denoised, not sharpened, without
        gamma. NaN, infinite and masked pixels are left out. At most a million pixels of large
        images are read.
    pairs : sequence of (int, int)
        Planes of the stack that show the same field, such as successive frames, with independent
        noise.

    Returns
    -------
    NoiseReport

    Raises
    ------
    InputError
        For the wrong number of axes, planes below 16 x 16, or a constant image.

    Notes
    -----
    The variance is measured on the fine half of the cosine transforms of 8 x 8 blocks whose coarse
    half shows no structure. A line is fitted to it over the blocks' means. Correlated noise has
    less fine detail than white noise of the same variance, which is corrected where a coefficient
    exceeds 0.1.

    The line has two parameters, the model three. Every offset gives the same variances from the
    level where the line meets zero (no read noise) to the mean of the darkest blocks (no signal
    there). Widened by the error of the line, this is ``offset_range``, with ``read_noise_range``.
    The model takes the upper end, which is right for a dark background. It takes a lower offset
    where the skewness of the noise says so by more than two standard errors: photon noise is skewed
    and read noise is not. Where the levels differ too little for that, offset and read noise are
    both overestimated on a background: 4.3 times for 40 photons with a read noise of 1.5 photons.

    Structure as fine as the pixels in every block (sand, grass) is partly measured as noise;
    ``homogeneous`` is then a few per cent. The gain needs different levels: for a flat image it is
    0 with a large ``gain_error``.

    The difference of a pair has no structure where nothing moves. It is measured in the same way,
    and used if more of its blocks are homogeneous. Moving, blinking and bleaching blocks are not.
    Constant line offsets are seen in single planes only.
    """
    image = as_images(image)
    planes = read_planes(image)
    histogram = histogram_of(planes)
    blocks = single_image_blocks(planes, histogram.limits)
    line, correlation = _measure(planes, blocks, histogram)
    report = _report(histogram, blocks, line, correlation, _shares(correlation)[1], 1)
    skewness = measure_skewness(planes, blocks, line)
    if pairs:
        report = _of_differences(read_pairs(image, pairs), report)
    # Clipping at the dark end makes the rest more skewed.
    is_whole = histogram.at_floor < CUT_OFF
    model = _with_background(report.model, skewness) if is_whole else report.model
    return replace(report, skewness=skewness, model=model, faint=_faint(planes, histogram))


def _measure(
    planes: list[Floats], blocks: Blocks, histogram: Histogram
) -> tuple[Line, Autocorrelation]:
    """Fit the line, and measure the correlation, which the line needs, in its blocks."""
    bins = level_bins(blocks.level)
    flat = flat_blocks(blocks, bins)
    correlation = measure_autocorrelation(planes, blocks, flat, flat)
    line = fit_line(blocks, bins, histogram, _shares(correlation))
    flattest = flattest_blocks(blocks, line)
    # Of hardly any photon the sums of lines scatter more than the measure allows for.
    lit = blocks.level - histogram.limits[0] > FEW_PHOTONS * histogram.step
    correlation = measure_autocorrelation(planes, blocks, flattest, line.used & lit)
    return fit_line(blocks, bins, histogram, _shares(correlation)), correlation


def _of_differences(windows: list[Floats], single: NoiseReport) -> NoiseReport:
    """The report of the differences of pairs (2, Y, X), or that of single planes."""
    histogram = histogram_of(windows)
    try:
        blocks = difference_blocks(windows, histogram.limits)
    except InputError:
        return single
    differences = [(first - second) / math.sqrt(2) for first, second in windows]
    line, correlation = _measure(differences, blocks, histogram)
    if line.homogeneous <= single.homogeneous:
        return single
    found = single.autocorrelation
    correlation = replace(
        correlation,
        rows=max(correlation.rows, found.rows),
        columns=max(correlation.columns, found.columns),
        patterned=found.patterned,
    )
    report = _report(histogram, blocks, line, correlation, _shares(correlation)[1], 1)
    return replace(report, limits=single.limits, step=single.step, clipped=single.clipped)


def estimate_noise_from_repeats(frames: ArrayLike) -> NoiseReport:
    """Measure the noise from repeated acquisitions of a scene that does not move.

    Parameters
    ----------
    frames : array-like, (N, Y, X) with N >= 2

    Raises
    ------
    InputError
        For fewer than two frames, planes below 16 x 16, or a constant image.

    Notes
    -----
    The variance over the frames holds no structure, so textured images are no problem. Movement
    and bleaching count as noise, a change of brightness of the whole frame does not. At most 32
    frames and two million pixels of large movies are read. The offset is as ambiguous as in
    `estimate_noise`.
    """
    frames = as_images(frames)
    windows = read_repeats(frames)
    histogram = histogram_of(windows)
    blocks = repeats_blocks(windows, histogram.limits)
    line = fit_line(blocks, level_bins(blocks.level), histogram, (1.0, 1.0))
    correlation = repeats_autocorrelation(windows)
    return _report(histogram, blocks, line, correlation, 1.0, int(frames.shape[0]))


def _shares(correlation: Autocorrelation) -> tuple[float, float]:
    """Energy of correlated noise in coarse and fine detail, by its large coefficients."""
    least = max(CORRECTED_CORRELATION, STANDARD_ERRORS * correlation.error)
    y, x = (
        tuple(c if abs(c) > least else 0.0 for c in along)
        for along in (correlation.y, correlation.x)
    )
    large = Autocorrelation(y, x, correlation.error)
    return expected_share(large, COARSE), expected_share(large, FINE)


def _report(
    histogram: Histogram,
    blocks: Blocks,
    line: Line,
    correlation: Autocorrelation,
    fine_share: float,
    frames: int,
) -> NoiseReport:
    model, offset_range = _model(histogram, blocks, line)
    points = variance_points(blocks, line, fine_share)
    mean_variance = blocks.fine.mean() if frames > 1 else line.variance(np.array(histogram.mean))
    low, high = histogram.piled_up
    if line.floor.any():
        low = histogram.at_floor
    elif line.cut or line.counts:
        # A few pixels may be the end of a tail.
        low = histogram.at_floor if line.cut and histogram.at_floor > CUT_OFF else 0.0
    return NoiseReport(
        model=model,
        gain_error=line.fit.error,
        slope=line.fit.measured,
        below=histogram.below(offset_range[0]),
        offset_range=offset_range,
        noise_std=math.sqrt(float(mean_variance)),
        mean=histogram.mean,
        autocorrelation=correlation,
        points=points,
        misfit=_misfit(model, points),
        homogeneous=line.homogeneous,
        clipped=(low, high),
        limits=histogram.limits,
        step=histogram.step,
        frames=frames,
    )


def _with_background(model: NoiseModel, skewness: Skewness | None) -> NoiseModel:
    """Take the offset of the skewness if it is below the darkest region, which is more exact."""
    if skewness is None or skewness.offset + 2 * skewness.offset_error > model.offset:
        return model
    offset = max(skewness.offset, model.without_read_noise().offset)
    return NoiseModel(model.gain, offset, math.sqrt(float(model.variance(offset))))


def _faint(planes: list[Floats], histogram: Histogram) -> float:
    """Mean level above the darkest of blocks with few counted photons, if these are the most."""
    step = histogram.step
    if not step:
        return math.inf
    cut = [square_blocks(plane - histogram.limits[0], _FAINT_SIDE) for plane in planes]
    light = np.concatenate(cut)
    # Constant blocks were filled.
    light = light[np.isfinite(light).all(1) & (np.ptp(light, 1) > 0)]
    faint = light[light.mean(1) < FEW_PHOTONS * step]
    if not len(faint) > LARGE_PART * len(light):
        return math.inf
    # Tails of clipped read noise reach further than single photons.
    is_counted = np.median((faint**2).sum(1) / faint.sum(1)) <= COUNTED_VARIANCE * step
    return float(faint.mean()) if is_counted else math.inf


def _misfit(model: NoiseModel, points: tuple[VariancePoint, ...]) -> float:
    """Mean distance of points from the line, relative to the mean of both."""
    measured = np.array([point.variance for point in points])
    predicted = model.variance([point.level for point in points])
    total = np.maximum(measured + predicted, np.finfo(float).tiny)
    apart = 2 * np.abs(measured - predicted) / total
    return float(np.average(apart, weights=[point.blocks for point in points]))


def _model(
    histogram: Histogram, blocks: Blocks, line: Line
) -> tuple[NoiseModel, tuple[float, float]]:
    """Gain, offset and read noise of a line, and the range of the offset."""
    slope, intercept = line.fit.slope, line.fit.intercept
    # On a gradient the line may not rest on the dark blocks.
    dark = min(
        darkest_level(blocks.level[chosen], line.fit, blocks.averaged)
        for chosen in (line.used, ~line.floor)
    )
    if line.floor.any():
        share, level = (float(v[line.floor].mean()) for v in (blocks.darkest, blocks.level))
        dark = min(dark, level_before_cutting(level, histogram.limits[0], share))
    if slope == 0:
        return NoiseModel(0.0, dark, math.sqrt(max(intercept, 0.0))), (-math.inf, dark)
    without_read_noise = -intercept / slope
    # The error of the slope rotates the line about its middle.
    far = float(blocks.level[line.used].mean()) - without_read_noise
    lowest = without_read_noise - 2 * far * line.fit.error / slope
    offset = max(dark, without_read_noise)
    read_variance = max(slope * dark + intercept, 0.0)
    return NoiseModel(slope, offset, math.sqrt(read_variance)), (min(lowest, dark), offset)


def level_before_cutting(level: float, floor: float, share: float) -> float:
    """Mean of a Gaussian that has a mean of ``level`` after a share was clipped at a floor.

    Notes
    -----
    With ``alpha = (mean - floor) / sigma`` the share is ``Phi(-alpha)`` and the mean after clipping
    is ``floor + sigma (alpha Phi(alpha) + phi(alpha))``.
    """
    alpha = -float(special.ndtri(min(max(share, 1e-6), 1 - 1e-6)))
    density = math.exp(-(alpha**2) / 2) / math.sqrt(2 * math.pi)
    sigma = (level - floor) / (alpha * float(special.ndtr(alpha)) + density)
    return floor + alpha * sigma
