"""How much the result of a trained model depends on how the picture lies under the camera."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_redenoise.assessment._support import PLAIN
from napari_redenoise.data import ArrayLike, Planes, as_array, default_axes
from napari_redenoise.errors import ConfigError, InputError
from napari_redenoise.inference import TileDone
from napari_redenoise.model import Redenoiser, Window

_SPLINE_ORDER = 3

_LABELS = {
    "standard": "standard branch",
    "equivariant": "equivariant branch",
    "denoised": "fused network",
}


@dataclass(frozen=True)
class EquivarianceResult:
    """What turning the picture changes; by name: standard, equivariant, denoised (fused).

    A model of one branch has only ``denoised``.

    Attributes
    ----------
    angle : float
        Degrees, counter-clockwise.
    window : Window
        What was compared, in pixels of the image; its sides are even.
    errors : dict of float
        ``||T f(R x) - f(x)|| / ||f(x) - mean f(x)||``, T turning back: 0 for an equivariant
        network.
    differences : dict of ndarray, float32
        ``|T f(R x) - f(x)|`` in grey levels, (rows, columns) as in the picture; the root mean
        square over channels where there are several. NaN where nothing was compared.
    interpolation : float or None
        ``||T R x - x|| / ||x - mean x||`` of the noisy picture x: what a network that changes
        nothing would show. No lower bound: interpolation mostly hurts the noise, and the errors
        are shares of the result, which has lost it; a denoiser can be far below. None for
        multiples of 90 degrees, which need no interpolation.
    labels : dict of str
        What the networks are called in words.
    """

    angle: float
    window: Window
    errors: dict[str, float]
    differences: dict[str, npt.NDArray[np.float32]]
    interpolation: float | None = None
    labels: dict[str, str] = field(default_factory=dict)

    def sentences(self) -> list[str]:
        """Say the errors in words.

        Returns
        -------
        list of str
        """
        parts = [f"of the {self.labels[name]} by {percent(e)}" for name, e in self.errors.items()]
        said = [f"Turning the picture by {self.angle:g}° changes the result {', '.join(parts)}."]
        if self.interpolation is not None:
            said.append(
                "Turning and turning back by interpolation alone changes the noisy picture by "
                f"{percent(self.interpolation)}, what a network that changes nothing would show; "
                "a denoiser can be far below it, since interpolation mostly hurts the noise."
            )
        return said


def equivariance(
    model: Redenoiser,
    image: ArrayLike,
    axes: str | None = None,
    *,
    angle: float = 90.0,
    window: Window | None = None,
) -> EquivarianceResult:
    """Turn a picture, denoise it, turn it back, and compare with the picture denoised as it is.

    Parameters
    ----------
    model : Redenoiser
        Trained or loaded.
    image : array-like
        Noisy pixels, as for `Redenoiser.predict`; only ever read.
    axes : str, optional
        As for `Redenoiser.predict`.
    angle : float
        Degrees, counter-clockwise. Multiples of 90 only move pixels. Other angles interpolate
        with cubic splines, twice, and are compared inside the inscribed disc.
    window : Window, optional
        Which part of which sample; default the whole plane of the first sample.

    Returns
    -------
    EquivarianceResult

    Raises
    ------
    ConfigError
        When the model was not trained, or the angle is no number.
    InputError
        When the image does not fit the model, or the window is smaller than 16 x 16 pixels or
        holds one grey level.

    Notes
    -----
    The network itself is compared. Where `Redenoiser.predict` averages over recorrupted pictures
    (R2R), the network is shown the picture as it is, since chance does not turn with a picture and
    would make every network look inequivariant.

    The mean is subtracted below the line of the error, because the offset of a camera would make
    every change look small. An odd side is cut by one pixel: pooling by two has no middle there,
    and no network with pooling is equivariant on it.
    """
    events = equivariance_events(model, image, axes, angle=angle, window=window)
    while True:
        try:
            next(events)
        except StopIteration as end:
            result: EquivarianceResult = end.value
            return result


def equivariance_events(
    model: Redenoiser,
    image: ArrayLike,
    axes: str | None = None,
    *,
    angle: float = 90.0,
    window: Window | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> Generator[TileDone, None, EquivarianceResult | None]:
    """Do the work of `equivariance` as a generator of events; returns None when stopped."""
    if not np.isfinite(angle):
        raise ConfigError(f"expected an angle in degrees, got {angle}: give 90, for example")
    image = as_array(image)
    axes = axes or default_axes(len(image.shape))
    planes = Planes(image, axes)
    window = _even(window or _whole(planes))
    noisy = planes.read(window.sample, window.rows, window.columns)
    turn = _Turn(angle, noisy.shape[-2:])
    straight = yield from _denoise(model, noisy, should_stop)
    turned = yield from _denoise(model, turn.forth(noisy), should_stop)
    if should_stop is not None and should_stop():
        return None
    errors, differences = {}, {}
    for name in (name for name in _LABELS if name in straight):
        errors[name], differences[name] = _compare(
            turn.back(turned[name]), straight[name], turn.compared
        )
    plain = noisy.astype(np.float32)
    moved = None if turn.exact else _compare(turn.back(turn.forth(plain)), plain, turn.compared)[0]
    return EquivarianceResult(angle, window, errors, differences, moved, _labels(model))


def percent(error: float) -> str:
    """A relative error as a person says it."""
    if error < 1e-4:
        return "less than 0.01 %"
    return f"{100 * error:.2f} %" if error < 0.01 else f"{100 * error:.1f} %"


class _Turn:
    """Turns pictures (channels, Y, X) forth and back, and knows where both are known."""

    def __init__(self, angle: float, shape: tuple[int, ...]) -> None:
        self.exact = angle % 90 == 0
        self._angle = angle
        y, x = (np.arange(size) - (size - 1) / 2 for size in shape)
        everywhere = np.ones(shape, dtype=bool)
        inside = np.hypot(y[:, None], x) <= min(shape) / 2 - 1
        self.compared = everywhere if self.exact else inside

    def forth(self, picture: np.ndarray) -> np.ndarray:
        return self._turned(picture, self._angle)

    def back(self, picture: np.ndarray) -> np.ndarray:
        return self._turned(picture, -self._angle)

    def _turned(self, picture: np.ndarray, angle: float) -> np.ndarray:
        if self.exact:
            return np.rot90(picture, round(angle / 90), (-2, -1))
        # A single pixel without a value would take it from all others.
        known = np.isfinite(picture)
        filled = np.where(known, picture, picture[known].mean()).astype(np.float32)
        return np.asarray(
            ndimage.rotate(
                filled, angle, (-1, -2), reshape=False, order=_SPLINE_ORDER, mode="mirror"
            )
        )


def _whole(planes: Planes) -> Window:
    return Window((0,) * len(planes.sample_shape), slice(0, planes.height), slice(0, planes.width))


def _even(window: Window) -> Window:
    """The window without the last row or column of an odd side."""
    rows, columns = (
        slice(side.start, side.stop - (side.stop - side.start) % 2)
        for side in (window.rows, window.columns)
    )
    return Window(window.sample, rows, columns)


def _denoise(
    model: Redenoiser, picture: np.ndarray, should_stop: Callable[[], bool] | None
) -> Generator[TileDone, None, dict[str, np.ndarray]]:
    """Outputs of all branches for a picture (channels, Y, X)."""
    outputs = model.session.allocate(picture, "CYX", branches=True)
    yield from model.predict_events(
        picture, "CYX", outputs=outputs, should_stop=should_stop, **PLAIN
    )
    return {name: np.asarray(array[:]) for name, array in outputs.items() if name != "mask"}


def _compare(
    turned: np.ndarray, straight: np.ndarray, compared: np.ndarray
) -> tuple[float, npt.NDArray[np.float32]]:
    """Relative error, and the absolute difference (Y, X), of pictures (channels, Y, X)."""
    known = compared & np.isfinite(turned).all(0) & np.isfinite(straight).all(0)
    expected = straight[:, known].astype(np.float64)
    difference = turned[:, known] - expected
    scale = np.linalg.norm(expected - expected.mean(1, keepdims=True)) if known.any() else 0.0
    if not scale > 0:
        raise InputError(
            "the result has the same value everywhere in this window: choose a window in which "
            "there is something to see"
        )
    shown = np.full(compared.shape, np.nan, np.float32)
    shown[known] = np.sqrt((difference**2).mean(0))
    return float(np.linalg.norm(difference) / scale), shown


def _labels(model: Redenoiser) -> dict[str, str]:
    kind = model.session.trained_plan().config.network.kind
    return _LABELS if kind == "adarenet" else {"denoised": f"{kind} network"}
