"""The facade on plain arrays: what scripts, the command line and the widgets all call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from napari_redenoise.data import ArrayLike, check_scale, result_dtype
from napari_redenoise.inference import TileDone
from napari_redenoise.io import load_model, result_array, save_model
from napari_redenoise.model._learner import Learner
from napari_redenoise.model._line_correction import predict_corrected
from napari_redenoise.model._material import Material, as_planes
from napari_redenoise.model._noise_reports import noise_reports
from napari_redenoise.model._prediction import Result, predict_in_tiles
from napari_redenoise.model._previews import PreviewDone, Window
from napari_redenoise.model._timing import run_seconds, steps_within
from napari_redenoise.noise import NoiseReport

__all__ = ["Redenoiser", "Result"]

RESULTS = ("denoised", "mask", "standard", "equivariant")


class Redenoiser(Learner):
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

    def predict(
        self,
        image: ArrayLike,
        axes: str | None = None,
        *,
        branches: bool = False,
        averaged: bool = True,
    ) -> Result:
        """Denoise an image; see `predict_events`.

        Parameters
        ----------
        branches : bool
            Also return the outputs of both branches.
        averaged : bool
            As in `predict_events`.
        """
        outputs = self.allocate(image, axes, branches=branches)
        for _ in self.predict_events(image, axes, outputs=outputs, averaged=averaged):
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
        """Make the arrays that `predict_events` fills, by name.

        They are float32, or float64 where that could not tell the grey levels apart.

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
                dtype = np.float32 if name == "mask" else result_dtype(planes)
                outputs[name] = result_array(planes, channels=name != "mask", dtype=dtype)
        return outputs

    def predict_events(
        self,
        image: ArrayLike,
        axes: str | None = None,
        *,
        outputs: dict[str, Any],
        should_stop: Callable[[], bool] | None = None,
        averaged: bool = True,
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
        averaged : bool
            Whether to average over the picture and its mirror image (where ``tiling.mirrored``
            says so), and with a model trained with R2R from random weights over recorrupted
            pictures, and to subtract offsets of lines where the model was trained without them, as
            is best; False shows the network the picture itself, once.

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
        self.settle(should_stop)
        network, normalisation = self._trained()
        if self._is_loaded:
            check_scale(planes, normalisation)
        objective = self.config.objective
        predict = partial(
            predict_in_tiles,
            network,
            normalisation=normalisation,
            outputs=outputs,
            config=self.config,
            device=self.device,
            draws=self._draws(objective.draws) if averaged else None,
            should_stop=should_stop,
            mirrored=averaged and self.config.tiling.mirrors(planes.pixels),
        )
        lines = objective.lines if averaged else "none"
        yield from predict_corrected(planes, lines, self.device, should_stop, predict)

    def check(
        self,
        image: ArrayLike,
        axes: str | None = None,
        *,
        second: ArrayLike | None = None,
        region: ArrayLike | None = None,
        others: Sequence[ArrayLike] = (),
    ) -> None:
        """Refuse at once, without reading a pixel, what `fit` would refuse for its shape.

        Raises
        ------
        InputError
            When the image, or what is given with it, cannot be trained on.
        ConfigError
            When the objective does not go with a second shot, or the others not with the rest.
        """
        Material.of(image, axes, second, region, others).shots(self.config.objective)

    def estimate_seconds(self, image: ArrayLike, axes: str | None = None) -> float:
        """Expected time of `fit` and `predict` together, from a trial of a few steps.

        The trial takes one or two seconds the first time, and is remembered for the process.
        """
        return run_seconds(self.config, as_planes(image, axes), self.device)

    def steps_within(self, image: ArrayLike, axes: str | None = None, *, seconds: float) -> int:
        """Training steps with which `fit` and `predict` together take about so many seconds.

        At least 20. From the same trial as `estimate_seconds`.
        """
        return steps_within(self.config, as_planes(image, axes), self.device, seconds)

    def noise(self, image: ArrayLike, axes: str | None = None) -> tuple[NoiseReport, ...]:
        """Measure the noise of an image, one report per channel, about a second each.

        Raises
        ------
        InputError
            When the image cannot be denoised either, or holds one value only.
        """
        return noise_reports(as_planes(image, axes))

    def preview(
        self, image: ArrayLike, axes: str | None, window: Window, *, step: int | None = None
    ) -> PreviewDone:
        """Denoise a window of an image with what has been learned so far.

        Parameters
        ----------
        image, axes
            As in `fit_events`.
        window : Window
        step : int, optional
            Of the snapshot to show, which is not chosen thereby; a training is not disturbed.

        Raises
        ------
        ConfigError
            When nothing was trained or loaded, or there is no snapshot of the step.
        InputError
            When the image does not fit the model.
        """
        planes = self._planes(image, axes)
        network, _ = self._trained()
        if step is None:
            return self._preview(network, planes, window, self.provenance.get("steps", 0))
        with self._snapshots.shown(step, self.config.network, self.device) as shown:
            return self._preview(shown, planes, window, step)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the model as safetensors, with its configuration in the header.

        Raises
        ------
        ConfigError
            When nothing was trained or loaded.
        OutputError
            When the file exists and ``overwrite`` is not set, or does not end in ``.safetensors``.
        """
        self.settle()
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
