"""Disagreement under rotation of a trained model: its equivariance error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from napari_redenoise.assessment._support import PLAIN
from napari_redenoise.data import ArrayLike, Planes, as_array, default_axes
from napari_redenoise.errors import ConfigError, InputError
from napari_redenoise.inference import Interrupted
from napari_redenoise.model import Redenoiser, Window

_SPLINE_ORDER = 3

_LABELS = {
    "standard": "standard branch",
    "equivariant": "equivariant branch",
    "denoised": "fused network",
}


@dataclass(frozen=True)
class EquivarianceResult:
    """Disagreement under rotation of each output: standard, equivariant, denoised (fused).

    A model of one branch has only ``denoised``.

    Attributes
    ----------
    angle : float
        Degrees, counter-clockwise.
    window : Window
        Compared part of the image, in pixels; its sides are even.
    errors : dict of float
        ``||T f(R x) - f(x)|| / ||f(x) - mean f(x)||``, where R rotates and T rotates back: 0 for
        an equivariant network.
    differences : dict of ndarray, float32
        ``|T f(R x) - f(x)|`` in grey levels, (rows, columns) as in the image; the root mean
        square over several channels. NaN where nothing was compared.
    interpolation : float or None
        ``||T R x - x|| / ||x - mean x||`` of the noisy image x: the error of the identity. It is
        no lower bound: interpolation mostly affects the noise, so the error of a denoiser can be
        far smaller. None for multiples of 90 degrees, which need no interpolation.
    labels : dict of str
        Names of the outputs, in words.
    """

    angle: float
    window: Window
    errors: dict[str, float]
    differences: dict[str, npt.NDArray[np.float32]]
    interpolation: float | None = None
    labels: dict[str, str] = field(default_factory=dict)

    def sentences(self) -> list[str]:
        """The errors in sentences.

        Returns
        -------
        list of str
        """
        parts = [f"{self.labels[name]} {percent(e)}" for name, e in self.errors.items()]
        said = [f"Disagreement under rotation by {self.angle:g}°: {', '.join(parts)}."]
        if self.interpolation is not None:
            said.append(
                "Interpolation alone changes the noisy image by "
                f"{percent(self.interpolation)}. A denoiser can be far below it, because "
                "interpolation mostly affects the noise."
            )
        return said


def equivariance(
    model: Redenoiser,
    image: ArrayLike,
    axes: str | None = None,
    *,
    angle: float = 90.0,
    window: Window | None = None,
    progress: Callable[[int, int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> EquivarianceResult:
    """Measure how much a denoised image changes when the image is rotated first.

    Parameters
    ----------
    model : Redenoiser
        Trained or loaded.
    image : array-like
        Noisy pixels, as for `Redenoiser.predict`; they are not modified.
    axes : str, optional
        As for `Redenoiser.predict`.
    angle : float
        Degrees, counter-clockwise. Multiples of 90 only move pixels. Other angles interpolate
        twice with cubic splines, and are compared inside the inscribed disc.
    window : Window, optional
        Part of a sample; by default the whole plane of the first sample.
    progress : callable, optional
        Called after every tile with its number and the number of tiles. The image is denoised
        twice, which counts from 1 both times.
    should_stop : callable, optional
        Polled between tiles and within each tile.

    Returns
    -------
    EquivarianceResult

    Raises
    ------
    ConfigError
        When the model is not trained, or the angle is not finite.
    InputError
        When the image does not fit the model, or the window is smaller than 16 x 16 pixels or
        constant.
    Interrupted
        When ``should_stop()`` was true; it is in `napari_redenoise.inference`.

    Notes
    -----
    The network predicts the image once. `Redenoiser.predict` may average over recorrupted images
    (R2R), but random draws do not rotate with the image and would add to the error.

    The mean is subtracted in the denominator of the error, because the offset of a camera would
    make every change look small. An odd side is cropped by one pixel: no network with pooling by
    two is equivariant on odd sides.
    """
    if not np.isfinite(angle):
        raise ConfigError(f"expected an angle in degrees, got {angle}: give 90, for example")
    image = as_array(image)
    axes = axes or default_axes(len(image.shape))
    planes = Planes(image, axes)
    window = _even(window or _whole(planes), planes)
    noisy = planes.read(window.sample, window.rows, window.columns)
    rotation = _Rotation(angle, noisy.shape[-2:])
    original = _denoise(model, noisy, progress, should_stop)
    rotated = _denoise(model, rotation.apply(noisy), progress, should_stop)
    errors, differences = {}, {}
    for name in (name for name in _LABELS if name in original):
        errors[name], differences[name] = _compare(
            rotation.undo(rotated[name]), original[name], rotation.compared
        )
    plain = noisy.astype(np.float32)
    interpolation = None
    if not rotation.is_exact:
        there_and_back = rotation.undo(rotation.apply(plain))
        interpolation, _ = _compare(there_and_back, plain, rotation.compared)
    return EquivarianceResult(angle, window, errors, differences, interpolation, _labels(model))


def percent(error: float) -> str:
    """A relative error in per cent."""
    if error < 1e-4:
        return "less than 0.01 %"
    return f"{100 * error:.2f} %" if error < 0.01 else f"{100 * error:.1f} %"


class _Rotation:
    """Rotates images (channels, Y, X) forth and back, with the mask of pixels known in both."""

    def __init__(self, angle: float, shape: tuple[int, ...]) -> None:
        self.is_exact = angle % 90 == 0
        self._angle = angle
        y, x = (np.arange(size) - (size - 1) / 2 for size in shape)
        everywhere = np.ones(shape, dtype=bool)
        inside = np.hypot(y[:, None], x) <= min(shape) / 2 - 1
        self.compared = everywhere if self.is_exact else inside

    def apply(self, image: np.ndarray) -> np.ndarray:
        return self._rotated(image, self._angle)

    def undo(self, image: np.ndarray) -> np.ndarray:
        return self._rotated(image, -self._angle)

    def _rotated(self, image: np.ndarray, angle: float) -> np.ndarray:
        if self.is_exact:
            return np.rot90(image, round(angle / 90), (-2, -1))
        # Splines would spread a single NaN over the whole image.
        known = np.isfinite(image)
        filled = np.where(known, image, image[known].mean()).astype(np.float32)
        return np.asarray(
            ndimage.rotate(
                filled, angle, (-1, -2), reshape=False, order=_SPLINE_ORDER, mode="mirror"
            )
        )


def _whole(planes: Planes) -> Window:
    return Window((0,) * len(planes.sample_shape), slice(0, planes.height), slice(0, planes.width))


def _even(window: Window, planes: Planes) -> Window:
    """The window without the last row or column of an odd side."""
    sides = window.rows.indices(planes.height), window.columns.indices(planes.width)
    rows, columns = (slice(start, stop - (stop - start) % 2) for start, stop, _ in sides)
    return Window(window.sample, rows, columns)


def _denoise(
    model: Redenoiser,
    image: np.ndarray,
    progress: Callable[[int, int], None] | None,
    should_stop: Callable[[], bool] | None,
) -> dict[str, np.ndarray]:
    """Outputs of all branches for an image (channels, Y, X)."""
    outputs = model.session.allocate(image, "CYX", branches=True)
    events = model.predict_events(image, "CYX", outputs=outputs, should_stop=should_stop, **PLAIN)
    for done in events:
        if progress is not None:
            progress(done.tile, done.tiles)
    if should_stop is not None and should_stop():
        raise Interrupted
    return {name: np.asarray(array[:]) for name, array in outputs.items() if name != "mask"}


def _compare(
    rotated: np.ndarray, original: np.ndarray, compared: np.ndarray
) -> tuple[float, npt.NDArray[np.float32]]:
    """Relative error, and the absolute difference (Y, X), of images (channels, Y, X)."""
    known = compared & np.isfinite(rotated).all(0) & np.isfinite(original).all(0)
    expected = original[:, known].astype(np.float64)
    difference = rotated[:, known] - expected
    scale = np.linalg.norm(expected - expected.mean(1, keepdims=True)) if known.any() else 0.0
    if not scale > 0:
        raise InputError("the result is constant in this window: choose a window with structure")
    shown = np.full(compared.shape, np.nan, np.float32)
    shown[known] = np.sqrt((difference**2).mean(0))
    return float(np.linalg.norm(difference) / scale), shown


def _labels(model: Redenoiser) -> dict[str, str]:
    kind = model.session.trained_plan().config.network.kind
    return _LABELS if kind == "adarenet" else {"denoised": f"{kind} network"}
