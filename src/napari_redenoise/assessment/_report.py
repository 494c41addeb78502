"""The report: all checks of an image and its denoised version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from napari_redenoise.assessment._checks import (
    NEIGHBOURS,
    Mark,
    QualityCheck,
    residual_checks,
    resolution_check,
    stack_checks,
)
from napari_redenoise.assessment._residual import residual_statistics
from napari_redenoise.assessment._resolution import Denoiser
from napari_redenoise.assessment._stack import stack_statistics
from napari_redenoise.assessment._support import PixelSize, supported_resolutions
from napari_redenoise.data import ArrayLike, Planes, as_array, default_axes
from napari_redenoise.errors import InputError
from napari_redenoise.model import noise_reports
from napari_redenoise.noise import NoiseReport

_BY_WEIGHT: tuple[Mark, ...] = ("good", "unknown", "caution", "bad")


@dataclass(frozen=True)
class QualityReport:
    """Quality checks of a denoised image.

    Attributes
    ----------
    checks : tuple of QualityCheck
        Always in the same order, those of stacks last; of several channels the worst of each.
    omitted : frozenset of str
        Names of checks that were not made for lack of an argument.
    """

    checks: tuple[QualityCheck, ...]
    omitted: frozenset[str] = frozenset()

    @property
    def mark(self) -> Mark:
        """The worst mark of the checks that were made."""
        made = (check.mark for check in self.checks if check.name not in self.omitted)
        return max(made, key=_BY_WEIGHT.index)

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON.

        Returns
        -------
        dict
        """
        return {"mark": self.mark, "checks": [asdict(check) for check in self.checks]}

    def summary(self) -> dict[str, Any]:
        """The marks and the sentences, as the manifest of a batch has them.

        Returns
        -------
        dict
            The worst ``mark``, the mark of every check in ``checks``, and the ``sentences``.
        """
        return {
            "mark": self.mark,
            "checks": {check.name: check.mark for check in self.checks},
            "sentences": self.sentences(),
        }

    def sentences(self) -> list[str]:
        """One line per check: mark, name, value and advice.

        Returns
        -------
        list of str
        """
        return [
            f"{check.mark}: {check.name}: {check.figure}."
            + (f" {check.advice}" if check.advice else "")
            for check in self.checks
        ]


def assess(
    noisy: ArrayLike,
    denoised: ArrayLike,
    axes: str | None = None,
    *,
    reports: tuple[NoiseReport, ...] | None = None,
    denoiser: Denoiser | None = None,
    pixel_size: PixelSize | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> QualityReport:
    """Check a denoised image: compare its residual with the noise of the noisy image.

    Parameters
    ----------
    noisy : array-like
        Unprocessed pixels, as for `Redenoiser.predict`; they are not modified.
    denoised : array-like
        In the grey levels and the shape of ``noisy``.
    axes : str, optional
        As for `Redenoiser.predict`.
    reports : tuple of NoiseReport, optional
        The noise of every channel of ``noisy``, from `measure_noise`; by default measured here,
        about one second per channel.
    denoiser : callable, optional
        The denoiser of ``denoised``, which takes and returns windows (channels, Y, X), as in
        ``lambda window: model.predict(window, "CYX", tta=False, draws=0,
        corrections=False).denoised``. The supported resolution needs it: it denoises a window
        of at most 512 x 512 pixels twice. Of a stack, six planes are denoised alone with it. That
        of `as_denoiser` knows the neighbours of a stack; a function of a window does not.
    pixel_size : (float, str), optional
        Side of a pixel and its unit, for the supported resolution.
    should_stop : callable, optional
        Polled between predictions; when it stops, the supported resolution is unknown.

    Returns
    -------
    QualityReport

    Raises
    ------
    InputError
        When the images differ in shape or are not supported, or the number of noise reports is
        not that of the channels.

    Notes
    -----
    Without a reference, the checks prove nothing. Each one detects a kind of damage, and a result
    that passes all of them can still be wrong, above all by invented structure.
    docs/quality-checks.md measures which damage they detect. The supported resolution is the
    finest scale at which a result agrees with the noise-free image.

    At most 32 megapixels are read, in windows spread evenly over all planes. Pixels that are not
    finite in either image are ignored. All checks but that of the mean also ignore pixels whose
    noise reaches a clipping limit of the detector.
    """
    noisy, denoised = as_array(noisy), as_array(denoised)
    shapes = [tuple(image.shape) for image in (noisy, denoised)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"expected a denoised image of shape {shapes[0]}, got {shapes[1]}: give the "
            "result of this image"
        )
    axes = axes or default_axes(len(noisy.shape))
    before, after = Planes(noisy, axes), Planes(denoised, axes)
    if reports is None:
        reports = noise_reports(before)
    if len(reports) != before.channels:
        raise InputError(
            f"expected one noise report for each of {before.channels} channel(s), got "
            f"{len(reports)}: omit them to have the noise measured"
        )
    channels = [
        residual_checks(figures, report)
        for figures, report in zip(
            residual_statistics(before, after, reports), reports, strict=True
        )
    ]
    resolutions = supported_resolutions(before, after, reports, denoiser, should_stop)
    resolution = resolution_check(resolutions, pixel_size)
    checks = [*_worst_of(channels), resolution]
    if before.context_axes:
        stacks = stack_statistics(before, after, reports, denoiser, should_stop)
        checks += _worst_of([stack_checks(stack) for stack in stacks])
    omitted = frozenset((resolution.name, NEIGHBOURS) if denoiser is None else ())
    return QualityReport(tuple(checks), omitted)


def _worst_of(channels: list[tuple[QualityCheck, ...]]) -> list[QualityCheck]:
    return [_worst(same) for same in zip(*channels, strict=True)]


def _worst(checks: tuple[QualityCheck, ...]) -> QualityCheck:
    """The worst of one check over all channels; it names the channel if there are several."""
    number = max(range(len(checks)), key=lambda n: _BY_WEIGHT.index(checks[n].mark))
    check = checks[number]
    if len(checks) == 1:
        return check
    return replace(check, figure=f"{check.figure} (channel {number})")
