"""The facade on plain arrays: what scripts, the command line and the widgets all call."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import napari_redenoise
from napari_redenoise._learning import draws_of, make_objective, shots_of
from napari_redenoise._noise_check import noise_reports, resolve
from napari_redenoise._previews import FIRST_STEP, PreviewDone, Previews, Window
from napari_redenoise._speed import run_seconds
from napari_redenoise._warm_start import resolve_start, warm_weights
from napari_redenoise.config import Config
from napari_redenoise.data import (
    ArrayLike,
    Normalisation,
    Planes,
    check_scale,
    default_axes,
    load_pool,
    patches,
)
from napari_redenoise.errors import ConfigError, DeviceError, InputError
from napari_redenoise.inference import (
    Draws,
    Interrupted,
    TileDone,
    interruptible,
    predict,
    predict_window,
    tile_sizes,
)
from napari_redenoise.io import (
    get_device,
    is_out_of_memory,
    load_model,
    memory_in_words,
    result_array,
    save_model,
    training_dtype,
)
from napari_redenoise.nn import DenoisingNetwork
from napari_redenoise.noise import NoiseReport
from napari_redenoise.training import StepDone, TrainingState, start, train

RESULTS = ("denoised", "mask", "standard", "equivariant")


@dataclass(frozen=True)
class Result:
    """What `Redenoiser.predict` returns.

    Attributes
    ----------
    denoised : ndarray, float32
        In the grey levels and the shape of the image.
    mask : ndarray, float32, or None
        Fusion mask, 1 where the standard branch decides and 0 where the equivariant one does;
        without the channel axis. ``None`` for networks of one branch.
    standard, equivariant : ndarray, float32, or None
        The outputs of the branches, where asked for.
    provenance : dict
        What was run, as plain values.
    """

    denoised: np.ndarray
    mask: np.ndarray | None = None
    standard: np.ndarray | None = None
    equivariant: np.ndarray | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


class Redenoiser:
    """Trains on noisy pixels alone and denoises.

    Parameters
    ----------
    config : Config, optional
    device : str, optional
        ``"cuda:0"``, ``"mps"``, ``"cpu"``; default the fastest there is.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_redenoise import Config, Redenoiser
    >>> noisy = np.random.default_rng(0).poisson(20.0, (64, 64))
    >>> model = Redenoiser(Config().changed(**{"training.steps": 2}), device="cpu")
    >>> result = model.fit(noisy).predict(noisy)
    >>> result.denoised.shape
    (64, 64)
    """

    def __init__(self, config: Config | None = None, device: str | None = None) -> None:
        self.config = config or Config()
        self.device = get_device(device)
        self.normalisation: Normalisation | None = None
        self.provenance: dict[str, Any] = {}
        self._network: DenoisingNetwork | None = None
        self._state: TrainingState | None = None
        self._is_loaded = False
        self._wanted_start = self.config.training.start

    @property
    def is_trained(self) -> bool:
        """Whether there is anything to predict with."""
        return self._network is not None

    def fit(
        self, image: ArrayLike, axes: str | None = None, *, second: ArrayLike | None = None
    ) -> Redenoiser:
        """Train on an image, from fresh weights; see `fit_events`."""
        for _ in self.fit_events(image, axes, second=second):
            pass
        return self

    def fit_events(
        self,
        image: ArrayLike,
        axes: str | None = None,
        *,
        second: ArrayLike | None = None,
        view: Callable[[], Window | None] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> Iterator[StepDone | PreviewDone]:
        """Train on an image, from fresh weights, as a generator of events.

        Leaving the generator at any event keeps what was learned up to then.

        Parameters
        ----------
        image : array-like
            Noisy pixels of any integer or floating dtype; only ever read.
        axes : str, optional
            One letter per axis: Y, X, C (channels denoised together), others are samples.
            Default ``YX``, ``ZYX``, ``TZYX`` or ``STZYX`` by the number of axes.
        second : array-like, optional
            Another shot of the same scene, of the same shape and axes, for Noise2Noise, which
            otherwise takes neighbouring frames of a stack.
        view : callable, optional
            Says which window to preview, or None for none; asked between steps.
        should_stop : callable, optional
            Ends the training within a step; asked between steps and within a preview.

        Raises
        ------
        InputError
            When the image cannot be trained on.
        ConfigError
            When the objective does not go with the image.
        DeviceError
            When the device's memory does not suffice.
        """
        planes = _as_planes(image, axes)
        other = None if second is None else _as_planes(second, planes.axes)
        config = resolve_start(
            self.config.changed(
                **{"network.channels": planes.channels, "training.start": self._wanted_start}
            )
        )
        objective_config = resolve(config.objective, planes)
        config = config.model_copy(update={"objective": objective_config})
        shots = shots_of(planes, other, objective_config)
        training = config.training
        dtype = training_dtype(self.device, training.precision)
        with memory_in_words(self.device):
            state = start(config, self.device)
            if training.start == "warm":
                for network in (state.network, state.average):
                    network.load_state_dict(warm_weights(config.network))
            pool = load_pool(shots, state.generator, should_stop=should_stop)
            objective = make_objective(config.objective, pool.normalisation)
            self.config, self.normalisation = config, pool.normalisation
            self._state, self._network, self.provenance = state, state.average, {}
            self._is_loaded = False
            side = training.patch_size * objective.scale
            batches = patches(pool, side, training.batch_size, state.generator, objective.turns)
            previews = Previews(
                state.average,
                lambda window, step: self._preview(planes, window, dtype, step),
                view,
                should_stop,
            )
            began = time.perf_counter()
            if should_stop is not None and should_stop():
                return
            if training.start == "warm":
                self.provenance = self._describe(planes, None, 0.0, dtype)
                yield from previews.due(FIRST_STEP)
            for step in train(state, batches, objective, training, dtype):
                self.provenance = self._describe(planes, step, time.perf_counter() - began, dtype)
                yield step
                if should_stop is not None and should_stop():
                    return
                yield from previews.due(step.step)

    def predict(
        self,
        image: ArrayLike,
        axes: str | None = None,
        *,
        branches: bool = False,
    ) -> Result:
        """Denoise an image; see `predict_events`.

        Parameters
        ----------
        branches : bool
            Also return the outputs of both branches.
        """
        outputs = self.allocate(image, axes, branches=branches)
        for _ in self.predict_events(image, axes, outputs=outputs):
            pass
        return Result(**outputs, provenance=dict(self.provenance))

    def allocate(
        self,
        image: ArrayLike,
        axes: str | None = None,
        *,
        branches: bool = False,
        denoised: Any = None,
    ) -> dict[str, Any]:
        """Make the arrays that `predict_events` fills, by name, float32.

        Large ones are zarr arrays in a temporary folder.

        Parameters
        ----------
        image, axes
            As in `predict_events`.
        branches : bool
            Also the outputs of both branches.
        denoised : array-like, optional
            Takes the denoised image, instead of a new array.
        """
        planes = self._planes(image, axes)
        names = ["denoised"]
        if self.config.network.kind == "adarenet":
            names += RESULTS[1:] if branches else ["mask"]
        outputs = {} if denoised is None else {"denoised": denoised}
        for name in names:
            if name not in outputs:
                outputs[name] = result_array(planes, channels=name != "mask")
        return outputs

    def predict_events(
        self,
        image: ArrayLike,
        axes: str | None = None,
        *,
        outputs: dict[str, Any],
        should_stop: Callable[[], bool] | None = None,
        recorrupt: bool = True,
    ) -> Iterator[TileDone]:
        """Denoise an image tile by tile into ``outputs``, as a generator of events.

        Parameters
        ----------
        image, axes
            As in `fit_events`. Only ever read.
        outputs : dict
            Arrays to fill, as `allocate` makes them: numpy, zarr, or anything that can be
            assigned to.
        should_stop : callable, optional
            Ends the prediction, in the middle of a tile if need be.
        recorrupt : bool
            Whether a model trained with R2R averages over recorrupted pictures, as is best; False
            shows the network the picture itself. Other models are always shown that.

        Raises
        ------
        ConfigError
            When nothing was trained or loaded.
        InputError
            When the image does not fit the model, or the model, from a file, was trained on quite
            other grey levels.
        DeviceError
            When even the smallest tile does not fit the device's memory.
        """
        planes = self._planes(image, axes)
        network, normalisation = self._trained()
        if self._is_loaded:
            check_scale(planes, normalisation)
        network = network.to(device=self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        tile, halo, smallest = tile_sizes(self.config.network, self.config.tiling)
        context = interruptible(network, should_stop) if should_stop else nullcontext()
        with context:
            while True:
                try:
                    yield from predict(
                        network,
                        planes,
                        normalisation,
                        outputs,
                        tile=tile,
                        halo=halo,
                        draws=self._draws(self.config.objective.draws) if recorrupt else None,
                    )
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    # Tiles only rewrite what they wrote, so starting again is harmless.
                    tile = tile // 2
                    if tile < smallest:
                        raise DeviceError(
                            f"{self.device} ran out of memory: close other programs that use "
                            "it, or choose the device 'cpu'"
                        ) from error
                    continue
                except Interrupted:
                    if should_stop is None or not should_stop():
                        raise
                return

    def check(
        self, image: ArrayLike, axes: str | None = None, *, second: ArrayLike | None = None
    ) -> None:
        """Refuse at once, without reading a pixel, what `fit` would refuse for its shape.

        Raises
        ------
        InputError
            When the image, or the image and its second shot, cannot be trained on.
        ConfigError
            When the objective does not go with a second shot.
        """
        planes = _as_planes(image, axes)
        other = None if second is None else _as_planes(second, planes.axes)
        shots_of(planes, other, self.config.objective)

    def estimate_seconds(self, image: ArrayLike, axes: str | None = None) -> float:
        """Expected time of `fit` and `predict` together, from a trial of a few steps.

        The trial takes one or two seconds the first time, and is remembered for the process.
        """
        return run_seconds(self.config, _as_planes(image, axes), self.device)

    def noise(self, image: ArrayLike, axes: str | None = None) -> tuple[NoiseReport, ...]:
        """Measure the noise of an image, one report per channel, about a second each.

        Raises
        ------
        InputError
            When the image cannot be denoised either, or holds one value only.
        """
        return noise_reports(_as_planes(image, axes))

    def preview(self, image: ArrayLike, axes: str | None, window: Window) -> PreviewDone:
        """Denoise a window of an image with what has been learned so far."""
        planes = self._planes(image, axes)
        dtype = training_dtype(self.device, self.config.training.precision)
        return self._preview(planes, window, dtype, len(self._state.losses) if self._state else 0)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the model as safetensors, with its configuration in the header.

        Raises
        ------
        ConfigError
            When nothing was trained or loaded.
        OutputError
            When the file exists and ``overwrite`` is not set.
        """
        network, normalisation = self._trained()
        return save_model(
            path, network, self.config, normalisation, self.provenance, overwrite=overwrite
        )

    @classmethod
    def load(cls, path: str | Path, device: str | None = None) -> Redenoiser:
        """Read a model that `save` wrote.

        Raises
        ------
        ModelFileError
            When the file is missing, damaged, or not a model of this package.
        """
        network, config, normalisation, provenance = load_model(path)
        model = cls(config, device)
        model._network, model.normalisation = network, normalisation
        model._is_loaded = True
        model.provenance = provenance
        return model

    def _planes(self, image: ArrayLike, axes: str | None) -> Planes:
        planes = _as_planes(image, axes)
        expected = self.config.network.channels
        if self.is_trained and planes.channels != expected:
            raise InputError(
                f"the model was trained on {expected} channel(s), the image has "
                f"{planes.channels}: train on this image, or choose one of the same kind"
            )
        return planes

    def _trained(self) -> tuple[DenoisingNetwork, Normalisation]:
        if self._network is None or self.normalisation is None:
            raise ConfigError("this model has not been trained: call fit() or load() first")
        return self._network.eval(), self.normalisation

    def _preview(
        self, planes: Planes, window: Window, dtype: torch.dtype, step: int
    ) -> PreviewDone:
        network, normalisation = self._trained()
        pixels = planes.read(window.sample, window.rows, window.columns)
        arrays = predict_window(network, pixels, normalisation, dtype, self._draws(1))
        return PreviewDone(step, window, arrays.denoised, arrays.mask)

    def _draws(self, count: int) -> Draws | None:
        """What is shown of a picture, where that is not the picture itself."""
        if self.normalisation is None:
            return None
        objective = make_objective(self.config.objective, self.normalisation)
        if not objective.recorrupts:
            return None
        return draws_of(objective, count, self.config.training.seed)

    def _describe(
        self, planes: Planes, step: StepDone | None, seconds: float, dtype: torch.dtype
    ) -> dict[str, Any]:
        return {
            "version": napari_redenoise.__version__,
            "config": self.config.model_dump(mode="json"),
            "axes": planes.axes,
            "shape": [int(size) for size in planes.array.shape],
            "steps": step.step if step else 0,
            "loss": step.loss if step else None,
            "seconds": round(seconds, 2),
            "device": str(self.device),
            "precision": str(dtype).removeprefix("torch."),
            "torch": torch.__version__,
        }


def _as_planes(image: ArrayLike, axes: str | None) -> Planes:
    if not hasattr(image, "shape"):
        image = np.asarray(image)
    return Planes(image, axes or default_axes(len(image.shape)))
