"""What R2R draws noise from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from napari_redenoise.config import NoiseConfig
from napari_redenoise.errors import InputError
from napari_redenoise.noise._cases import case_of
from napari_redenoise.noise._report import NoiseModel, NoiseReport
from napari_redenoise.noise._thresholds import TOO_DARK


def noise_model(report: NoiseReport) -> NoiseModel:
    """The model of the noise: as it was measured, or by the residual where that tells it better.

    Parameters
    ----------
    report : NoiseReport

    Returns
    -------
    NoiseModel

    Notes
    -----
    A residual that holds structure is taken only if it is less than what was measured: blocks with
    structure are left out of its line.
    """
    residual, case = report.residual, case_of(report)
    if residual is None or residual.noise is None:
        return report.model
    is_less = float(residual.noise.std(report.mean)) < report.noise_std
    if case == "white by residual" or (case == "unknown structure" and is_less):
        return residual.noise
    return report.model


def sampling_noise(reports: Sequence[NoiseReport]) -> NoiseConfig:
    """What R2R draws noise from, of every channel.

    Parameters
    ----------
    reports : sequence of NoiseReport

    Returns
    -------
    NoiseConfig

    Raises
    ------
    InputError
        When there is no noise, or whether it grows with the light cannot be told.
    """
    models = [_sampled(report) for report in reports]
    if not any(model.gain or model.read_noise for model, _ in models):
        raise InputError(
            "no noise was found in the image, and R2R learns from it: choose noise2self, or give "
            "the noise"
        )
    if not all(map(_is_growth_known, reports)):
        raise InputError(
            "whether the noise grows with the light cannot be told from this image, and R2R has to "
            "know: give gain, offset and read noise, or choose noise2self"
        )
    return NoiseConfig(
        gain=tuple(model.gain for model, _ in models),
        offset=tuple(model.offset for model, _ in models),
        read_noise=tuple(model.read_noise for model, _ in models),
        skewed=tuple(skewed for _, skewed in models),
    )


def noise_in_words(noise: NoiseConfig) -> str:
    """Gain, offset and read noise of every channel, in one line."""
    count = max(map(len, (noise.gain, noise.offset, noise.read_noise)))
    figures = (
        values * count if len(values) == 1 else values
        for values in (noise.gain, noise.offset, noise.read_noise, noise.skewed)
    )
    return "; ".join(
        f"gain {gain:.4g}, offset {offset:.4g}, read noise {read_noise:.4g} grey levels"
        + (f", {skewed:.0%} of which is light" if skewed and read_noise else "")
        if gain
        else f"Gaussian noise of standard deviation {read_noise:.4g} grey levels"
        for gain, offset, read_noise, skewed in zip(*figures, strict=True)
    )


def _sampled(report: NoiseReport) -> tuple[NoiseModel, float]:
    """A model, and how much of its read noise is as skewed as photon noise: docs/objectives.md.

    The darkest region is taken for dark and the skewness says what its noise is. Where it is not
    known, photons make all noise, unless pixels are so dark that photons alone cannot have made
    them: a background taken for read noise costs R2R more than the other way round.
    """
    model = noise_model(report)
    if model.gain == 0:
        least = 0.0 if case_of(report) == "clean" else _rounding(report)
        return replace(model, read_noise=model.read_noise or least), 0.0
    is_measured = model is report.model
    dark = report.offset_range[1] if is_measured else model.offset
    variance = float(model.variance(dark))
    skewed = _skewed_share(report, model, dark, variance, is_measured=is_measured)
    if skewed is None:
        return model.without_read_noise(), 0.0
    return NoiseModel(model.gain, dark, variance**0.5), min(max(skewed, 0.0), 1.0)


def _skewed_share(
    report: NoiseReport, model: NoiseModel, dark: float, variance: float, *, is_measured: bool
) -> float | None:
    """Share of the variance of the darkest region that is skewed; None where it is not known."""
    if report.skewness is not None:
        photons = report.skewness.excess * model.gain * (dark - report.skewness.offset)
        return photons / variance if variance > 0 else 1.0
    residual = None if is_measured else report.residual
    below = report.below if residual is None else residual.below
    return 1.0 if below > TOO_DARK else None


def _rounding(report: NoiseReport) -> float:
    """The least noise standard deviation: R2R cannot learn from none at all."""
    low, high = report.limits
    return max(report.step / math.sqrt(12), 1e-4 * (high - low))


def _is_growth_known(report: NoiseReport) -> bool:
    """Whether it is known, or does not matter, how the noise grows with the light."""
    if report.gain_is_known or case_of(report) not in ("correlated", "not measurable"):
        return True
    # It may be structure, which R2R keeps.
    return report.residual is not None and report.residual.is_strong
