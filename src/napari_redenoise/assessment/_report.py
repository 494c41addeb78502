"""The report: all checks of an image and its denoised version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from napari_redenoise.assessment._checks import (
    Mark,
    QualityCheck,
    residual_checks,
    resolution_check,
)
from napari_redenoise.assessment._residual import residual_statistics
from napari_redenoise.assessment._resolution import Denoiser
from napari_redenoise.assessment._support import PixelSize, supported_resolutions
from napari_redenoise.data import ArrayLike, Planes, as_array, default_axes
from napari_redenoise.errors import InputError
from napari_redenoise.model import noise_reports
from napari_redenoise.noise import NoiseReport

_BY_WEIGHT: tuple[Mark, ...] = ("good", "unknown", "caution", "bad")


@dataclass(frozen=True)
class QualityReport:
    """What speaks for and against a denoised image.

    Attributes
    ----------
    checks : tuple of QualityCheck
        Always the same ones in the same order; of several channels the worst of each.
    omitted : frozenset of str
        Names of checks that were not made, because what they need was not given.
    """

    checks: tuple[QualityCheck, ...]
    omitted: frozenset[str] = frozenset()

    @property
    def mark(self) -> Mark:
        """The worst mark of all checks that were made."""
        made = (check.mark for check in self.checks if check.name not in self.omitted)
        return max(made, key=_BY_WEIGHT.index)

    def as_dict(self) -> dict[str, Any]:
        """Everything as plain values, as JSON has them.

        Returns
        -------
        dict
        """
        return {"mark": self.mark, "checks": [asdict(check) for check in self.checks]}

    def sentences(self) -> list[str]:
        """One line a check: mark, title, figure, advice.

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
    """Compare what was removed from a noisy image with the noise that it should have had.

    Parameters
    ----------
    noisy : array-like
        Pixels as the detector gave them, as for `Redenoiser.predict`; only ever read.
    denoised : array-like
        In the grey levels and the shape of ``noisy``.
    axes : str, optional
        As for `Redenoiser.predict`.
    reports : tuple of NoiseReport, optional
        The noise of every channel of ``noisy``, as `measure_noise` measures it, which is done
        here where it is not given: about a second a channel.
    denoiser : callable, optional
        What made ``denoised``: takes and returns windows (channels, Y, X), as in ``lambda window:
        model.predict(window, "CYX", tta=False, draws=0, correct_lines=False).denoised``. A
        window of at most 512 x 512 pixels is denoised with it twice, to tell the supported
        resolution.
    pixel_size : (float, str), optional
        Side of a pixel and its unit, to tell the supported resolution in it.
    should_stop : callable, optional
        Asked between both; the supported resolution is not told then.

    Returns
    -------
    QualityReport

    Raises
    ------
    InputError
        When the images differ in shape, cannot be denoised, or there is not one noise report a
        channel.

    Notes
    -----
    No ground truth is used, so nothing is proved: every check can find a certain kind of damage,
    and a result that passes all of them can still be wrong, above all in structure that was made
    up where the noise left none. Which damage is found, and which is not, was measured:
    docs/quality-checks.md. The supported resolution tells down to which scale a result agrees with
    the image without noise.

    At most 32 megapixels are read, in windows spread evenly over all planes. Pixels that are not
    finite in either image are left out, and for all checks but that of the mean, places where the
    noise reaches a limit at which the detector cut it off.
    """
    noisy, denoised = as_array(noisy), as_array(denoised)
    shapes = [tuple(image.shape) for image in (noisy, denoised)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"expected a denoised image of shape {shapes[0]}, got {shapes[1]}: give the two that "
            "belong together"
        )
    axes = axes or default_axes(len(noisy.shape))
    before, after = Planes(noisy, axes), Planes(denoised, axes)
    if reports is None:
        reports = noise_reports(before)
    if len(reports) != before.channels:
        raise InputError(
            f"expected one noise report for each of {before.channels} channel(s), got "
            f"{len(reports)}: leave them out to have the noise measured"
        )
    channels = [
        residual_checks(figures, report)
        for figures, report in zip(
            residual_statistics(before, after, reports), reports, strict=True
        )
    ]
    worst = tuple(_worst(same) for same in zip(*channels, strict=True))
    resolutions = supported_resolutions(before, after, reports, denoiser, should_stop)
    last = resolution_check(resolutions, pixel_size)
    omitted = frozenset((last.name,) if denoiser is None else ())
    return QualityReport((*worst, last), omitted)


def _worst(checks: tuple[QualityCheck, ...]) -> QualityCheck:
    """The worst of the same check of all channels, which it names if there are several."""
    number = max(range(len(checks)), key=lambda n: _BY_WEIGHT.index(checks[n].mark))
    check = checks[number]
    if len(checks) == 1:
        return check
    return replace(check, figure=f"{check.figure} (channel {number})")
