"""The supported resolution of an image and its map, from image, result, noise and denoiser."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from napari_redenoise.assessment._resolution import (
    DRAWS,
    DRAWS_OF_MAP,
    Denoiser,
    Noise,
    NoiseResponse,
    Resolution,
    map_unsupported_detail,
    measure_resolution,
    measure_response,
)
from napari_redenoise.assessment._thresholds import CLIPPED
from napari_redenoise.data import Planes
from napari_redenoise.errors import InputError
from napari_redenoise.io import ImageFile, unit_symbol
from napari_redenoise.model import Window
from napari_redenoise.noise import NoiseModel, NoiseReport, diagnose, noise_model

if TYPE_CHECKING:
    from napari_redenoise.model import Redenoiser

SIDE = 512
"""Longest side of the window to denoise again, in pixels."""

Pixels = npt.NDArray[np.float32]
PixelSize = tuple[float, str]
"""Side of a pixel and its unit."""

PLAIN: dict[str, Any] = {"tta": False, "draws": 0, "corrections": False}
"""Options of a single prediction, without averaging or line correction."""

_NO_SUPPORT = {
    "clean": "no noise was found in the noisy image",
    "unknown structure": "the noise cannot be separated from the fine structure of the image",
    "correlated": "the noise is correlated, and photon thinning needs white noise",
    "not measurable": "the gain is unknown",
}
"""Noise cases without a supported resolution, and the reasons."""

# Range of the scale of the map, in pixels per cycle.
_FINEST, _COARSEST = 2 * math.sqrt(2), 16.0


def as_denoiser(model: Redenoiser, should_stop: Callable[[], bool] | None = None) -> Denoiser:
    """Make a function of a trained model that denoises windows (channels, rows, columns).

    It predicts once, without averaging. Its result is meaningless when it is stopped. A window of
    a stack is denoised alone, except for the supported resolution: that is of the result, which
    was made beside its neighbours.

    Parameters
    ----------
    model : Redenoiser
    should_stop : callable, optional
        Polled during a prediction.
    """
    return _ModelDenoiser(model, should_stop)


@dataclass(frozen=True)
class _ModelDenoiser:
    """Denoises windows (channels, rows, columns), with the neighbours of a stack or without."""

    model: Redenoiser
    should_stop: Callable[[], bool] | None

    def __call__(self, window: Pixels, around: Sequence[Pixels | None] = ()) -> Pixels:
        # A plane without any pixels counts as missing.
        planes = [np.full_like(window, np.nan) if one is None else one for one in around]
        middle = len(planes) // 2
        stack = np.stack([*planes[:middle], window, *planes[middle:]])
        outputs = {"denoised": np.zeros_like(stack)}
        events = self.model.predict_events(
            stack,
            "TCYX",
            outputs=outputs,
            should_stop=self.should_stop,
            samples=[(middle,)],
            **PLAIN,
        )
        for _ in events:
            pass
        return np.asarray(outputs["denoised"][middle])

    def beside_neighbours(self, noisy: Planes, window: Window) -> Denoiser:
        """The denoiser of a window of a stack, which is shown the neighbours of its plane."""
        network = self.model.session.trained_plan().config.network
        stack = noisy.with_context(network.neighbours // 2 if noisy.context_axes else 0)
        around = [
            None if one is None else stack.read(one, window.rows, window.columns).astype(np.float32)
            for one in stack.neighbours(window.sample)
        ]
        return partial(self, around=around)


def central_window(planes: Planes) -> Window:
    """The middle of the middle plane, at most 512 x 512 pixels."""
    rows, columns = (_middle(side) for side in (planes.height, planes.width))
    return Window(tuple(size // 2 for size in planes.sample_shape), rows, columns)


def _middle(side: int) -> slice:
    length = min(side, SIDE)
    start = (side - length) // 2
    return slice(start, start + length)


def supported_resolutions(
    noisy: Planes,
    denoised: Planes,
    reports: tuple[NoiseReport, ...],
    denoiser: Denoiser | None,
    should_stop: Callable[[], bool],
) -> tuple[Resolution | str, ...]:
    """Resolution of every channel in the middle of an image, or the reason for none."""
    reasons = tuple(_why_not(report) for report in reports)
    if denoiser is None:
        return ("the model that denoised the image was not given",) * len(reports)
    if all(reasons):
        return reasons
    responses = response_of_window(
        noisy, denoised, central_window(noisy), reports, denoiser, should_stop
    )
    if responses is None:
        return ("the check was stopped",) * len(reports)
    few = "the image is too small, or too many pixels are clipped or missing"
    return tuple(
        reason or measure_resolution(channel) or few
        for reason, channel in zip(reasons, responses, strict=True)
    )


def support_map(
    noisy: Planes,
    denoised: Planes,
    window: Window,
    reports: tuple[NoiseReport, ...],
    denoiser: Denoiser,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[npt.NDArray[np.float32], tuple[float, float]] | None:
    """Map where detail at the limit of the supported resolution is not supported.

    Parameters
    ----------
    noisy, denoised : Planes
    window : Window
    reports : tuple of NoiseReport
        One per channel.
    denoiser : callable
    should_stop : callable
        Polled between predictions.

    Returns
    -------
    tuple or None
        The map (rows, columns), 0 to 1, the largest of all channels; and the two scales of the
        compared detail, in pixels per cycle. None when stopped.

    Raises
    ------
    InputError
        When the noise or the number of pixels does not allow a map.
    """
    reason = next(filter(None, map(_why_not, reports)), "")
    if reason:
        raise InputError(
            f"there is no map, because {reason}: compare fine detail with a second shot"
        )
    responses = response_of_window(
        noisy, denoised, window, reports, denoiser, should_stop, draws=DRAWS_OF_MAP
    )
    if responses is None:
        return None
    found = [measure_resolution(channel) for channel in responses]
    if any(resolution is None for resolution in found):
        raise InputError(
            "the window is too small, or too many of its pixels are clipped or missing: show at "
            "least 48 x 48 pixels"
        )
    limit = max(resolution.supported for resolution in found if resolution is not None)
    scale = min(max(limit, _FINEST), _COARSEST)
    band = scale * math.sqrt(2), scale / math.sqrt(2)
    maps = [map_unsupported_detail(channel, *band) for channel in responses]
    return np.max(maps, axis=0), band


def response_of_window(
    noisy: Planes,
    denoised: Planes,
    window: Window,
    reports: tuple[NoiseReport, ...],
    denoiser: Denoiser,
    should_stop: Callable[[], bool],
    *,
    draws: int = DRAWS,
) -> tuple[NoiseResponse, ...] | None:
    """The response of a denoiser in a window; None when stopped."""
    place = window.sample, window.rows, window.columns
    if isinstance(denoiser, _ModelDenoiser):
        denoiser = denoiser.beside_neighbours(noisy, window)
    return measure_response(
        noisy.read(*place),
        denoised.read(*place),
        denoiser,
        [_noise_of(report) for report in reports],
        limits=[_limits_of(report) for report in reports],
        should_stop=should_stop,
        draws=draws,
    )


def _why_not(report: NoiseReport) -> str:
    """Why there is no supported resolution with such noise, or an empty string."""
    found = diagnose([report], fine_tuning=True)
    if found.lines != "none":
        return "the image has line offsets"
    return _NO_SUPPORT.get(found.case, "")


def _noise_of(report: NoiseReport) -> Noise:
    """The noise to draw from; zero where it is unknown."""
    if _why_not(report):
        return Noise(NoiseModel(0.0, 0.0, 0.0))
    model = noise_model(report)
    is_measured = model is report.model and report.skewness is not None
    return Noise(model, report.skewness.excess if is_measured and report.skewness else 1.0)


def _limits_of(report: NoiseReport) -> tuple[float, float]:
    """Clipping limits, in grey levels."""
    (low, high), (darkest, brightest) = report.clipped, report.limits
    return (
        darkest if low > CLIPPED else -math.inf,
        brightest if high > CLIPPED else math.inf,
    )


def pixel_size_of(image: ImageFile) -> PixelSize | None:
    """Pixel size of a file with square pixels and a unit, or None.

    Returns
    -------
    (float, str) or None
        Side of a pixel and its unit.
    """
    unit = unit_symbol(image.metadata.get("unit") or "pixel")
    if image.resolution is None or unit in (None, "", "pixel"):
        return None
    x, y = (1 / part if part else 0.0 for part in image.resolution)
    return (x, unit) if x > 0 and math.isclose(x, y, rel_tol=0.01) else None
