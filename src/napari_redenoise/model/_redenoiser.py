"""The facade for arrays that scripts, the command line and the dock share."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import torch

from napari_redenoise.config import Config
from napari_redenoise.data import ArrayLike, check_scale, grey_scale, load_pool
from napari_redenoise.devices import explain_out_of_memory, get_device, on_the_cpu
from napari_redenoise.errors import ConfigError, InputError, ModelFileError
from napari_redenoise.inference import Interrupted, TileDone
from napari_redenoise.io import load_model, save_model
from napari_redenoise.model._corrections import Corrections
from napari_redenoise.model._neighbours import Settled, settle
from napari_redenoise.model._plan import TrainingPlan, make_plan
from napari_redenoise.model._prediction import Result, predict_planes
from napari_redenoise.model._pretrained import pretrained_weights
from napari_redenoise.model._previews import Window
from napari_redenoise.model._run import Controls, TrainingEvent, TrainingRun, never
from napari_redenoise.model._session import Session
from napari_redenoise.model._training_images import TrainingImages
from napari_redenoise.noise import NoiseReport
from napari_redenoise.training import continue_training, start


class Redenoiser:
    """Trains on noisy pixels alone and denoises.

    Parameters
    ----------
    config : Config, optional
        Settings; never changed.
    device : str, optional
        ``"cuda:0"``, ``"mps"``, ``"cpu"``; default the fastest available.

    Attributes
    ----------
    config : Config
    session : Session
        Trained state: plan, provenance, snapshots, previews.

    Examples
    --------
    >>> import numpy as np
    >>> from napari_redenoise import Config, Redenoiser
    >>> noisy = np.random.default_rng(0).poisson(20.0, (64, 64))
    >>> model = Redenoiser(Config(training={"steps": 2}), device="cpu")
    >>> result = model.fit(noisy).predict(noisy)
    >>> result.denoised.shape
    (64, 64)
    """

    def __init__(self, config: Config | None = None, device: str | None = None) -> None:
        if not isinstance(config, Config | None):
            raise ConfigError(f"expected a Config, got {type(config).__name__}: use Config(...)")
        self.config = config or Config()
        self.session = Session(get_device(device))

    def __copy__(self) -> Self:
        """Copy the model with its trained state; a ConfigError is raised during training."""
        copied = object.__new__(type(self))
        copied.config, copied.session = self.config, self.session.copy()
        return copied

    @property
    def device(self) -> torch.device:
        """Device of training and prediction."""
        return self.session.device

    @device.setter
    def device(self, device: torch.device) -> None:
        self.session.device = device

    @on_the_cpu
    def plan(
        self,
        image: ArrayLike,
        axes: str | None = None,
        *,
        target: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        images: Sequence[ArrayLike] = (),
        reports: Sequence[NoiseReport] | None = None,
        should_stop: Callable[[], bool] | None = None,
    ) -> TrainingPlan:
        """Decide what `fit` would do, in about a second per channel.

        Parameters
        ----------
        image, axes, target, mask, images
            As in `fit_events`.
        reports : sequence of NoiseReport, optional
            Result of `measure_noise` for the image, which is not measured again.
        should_stop : callable, optional
            Ends the corrections.

        Returns
        -------
        TrainingPlan

        Raises
        ------
        InputError, ConfigError
            As in `fit_events`.
        Interrupted
            When stopped.
        """
        inputs = TrainingImages.of(image, axes, target, mask, images)
        inputs.shots(self.config.objective)
        return make_plan(self.config, inputs, self.device, should_stop, reports=reports)

    def fit(
        self,
        image: ArrayLike,
        axes: str | None = None,
        *,
        target: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        images: Sequence[ArrayLike] = (),
        plan: TrainingPlan | None = None,
        resume: bool = False,
        steps: int | None = None,
    ) -> Self:
        """Train on an image.

        Parameters
        ----------
        image, axes, target, mask, images, plan, resume, steps
            As in `fit_events`.

        Returns
        -------
        Redenoiser
            This model.

        Raises
        ------
        InputError, ConfigError, DeviceError
            As in `fit_events`.
        """
        for _ in self.fit_events(
            image,
            axes,
            target=target,
            mask=mask,
            images=images,
            plan=plan,
            resume=resume,
            steps=steps,
        ):
            pass
        return self

    @on_the_cpu
    def fit_events(
        self,
        image: ArrayLike,
        axes: str | None = None,
        *,
        target: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        images: Sequence[ArrayLike] = (),
        plan: TrainingPlan | None = None,
        resume: bool = False,
        steps: int | None = None,
        view: Callable[[], Window | None] | None = None,
        should_stop: Callable[[], bool] | None = None,
        should_pause: Callable[[], bool] | None = None,
    ) -> Generator[TrainingEvent, None, None]:
        """Train on an image, as a generator of events.

        The training up to the last event is kept when the generator is left. Fine-tuning ends with
        a `Judgement` by hold-out pixels: how much of the fine-tuning is kept. After a stop it is
        made when the model is next used.

        Parameters
        ----------
        image : array-like
            Noisy pixels of any integer or floating dtype; never modified.
        axes : str, optional
            One letter per axis: Y, X, C (channels), others are samples.
            Default ``YX``, ``ZYX``, ``TZYX`` or ``STZYX`` by the number of axes.
        target : array-like, optional
            Another shot of the same scene, with the same shape and axes, for Noise2Noise. Without
            it, Noise2Noise uses neighbouring frames of a stack.
        mask : array-like of bool or integers, optional
            Training region: patch centres and the normalisation are where it is not zero. It has
            the image's shape without channels, or the plane's (Y, X) for all samples.
        images : sequence of array-like
            Further images of any size to train on, with the same axes and channels. Noise and
            previews are those of the first image.
        plan : TrainingPlan, optional
            Result of `plan` for the image, which is not measured again.
        resume : bool
            Continue training for further ``steps``. The learning rate warms up again and falls to
            zero over them; the normalisation stays. The optimiser is resumed as well, unless the
            weights come from a file or a chosen snapshot, whose later snapshots are dropped.
        steps : int, optional
            Further steps of a resumed training; otherwise they replace those of the configuration.
        view : callable, optional
            Returns the window to preview, or None; called between steps.
        should_stop : callable, optional
            Ends the training; called between steps and within a preview.
        should_pause : callable, optional
            Pauses the training while it returns true; a changed view is still previewed.

        Yields
        ------
        StepDone, PreviewDone, Judgement

        Raises
        ------
        InputError
            When an image or the training region cannot be used.
        ConfigError
            When the objective does not suit the images, or there is nothing to resume.
        DeviceError
            When the device runs out of memory.
        """
        inputs = TrainingImages.of(image, axes, target, mask, images)
        controls = Controls(view, should_stop or never, should_pause or never)
        begin = self._resume if resume else self._begin
        with explain_out_of_memory(self.device):
            try:
                run = begin(inputs, controls, plan, steps)
            except Interrupted:
                return
            yield from run.events()

    def _begin(
        self,
        inputs: TrainingImages,
        controls: Controls,
        plan: TrainingPlan | None,
        steps: int | None,
    ) -> TrainingRun:
        """Begin a training from random or pretrained weights."""
        asked = self.config if steps is None else self.config.replace({"training.steps": steps})
        should_stop = controls.should_stop
        if plan is not None and plan.config.network.channels != inputs.planes.channels:
            raise InputError(
                f"the plan is for images of other channels ({plan.config.network.channels}, not "
                f"{inputs.planes.channels}): make one for this image, or leave it out"
            )
        settled = (
            Settled(plan.config) if plan else settle(asked, inputs.all, self.device, should_stop)
        )
        config = settled.config
        inputs = inputs.with_context(config.network)

        def decide() -> TrainingPlan:
            return plan or make_plan(asked, inputs, self.device, should_stop, settled=settled)

        first = plan or TrainingPlan(asked, config)
        shots = inputs.shots(first.config.objective)
        if not first.is_fine_tuning:
            # Fine-tuning is planned at its first step: pretrained weights are previewed before.
            first = plan = decide()
        state = start(first.config, self.device)
        if first.is_fine_tuning:
            for network in (state.network, state.average):
                network.load_state_dict(pretrained_weights(first.config.network))
        pool = load_pool(shots, state.generator, should_stop=controls.should_stop)
        grey_scales = tuple(map(grey_scale, inputs.all))
        self.session.begin(first, state, pool.normalisation, grey_scales)
        return TrainingRun(self.session, inputs, pool, state, controls, decide)

    def _resume(
        self,
        inputs: TrainingImages,
        controls: Controls,
        plan: TrainingPlan | None,
        steps: int | None,
    ) -> TrainingRun:
        """Continue the training of the session."""
        session = self.session
        normalisation = session.trained_normalisation()
        if steps is None or steps < 1:
            raise ConfigError("training is resumed for a number of steps: give at least 1")
        session.check_channels(inputs.planes)
        check_scale(inputs.planes, normalisation, session.grey_scales)
        snapshot = session.current_snapshot()
        if plan is None or plan.is_training_left_out:
            asked = self.config.replace({"training.steps": snapshot.step + steps})
            begun = session.trained_plan().config
            # The weights stay, and so does what the network receives.
            kept = {"network": begun.network, "training.start": begun.training.start}
            settled = Settled(asked.replace(kept))
            plan = make_plan(asked, inputs, self.device, controls.should_stop, settled=settled)
        else:
            plan = plan.with_steps(snapshot.step + steps)
        decided = plan
        inputs = inputs.with_context(plan.config.network)
        shots = inputs.shots(plan.config.objective)
        state = session.state if session.can_resume() else None
        if state is None:
            weights = session.network().state_dict()
            state = continue_training(plan.config, weights, snapshot.step, self.device)
        pool = load_pool(shots, state.generator, normalisation, should_stop=controls.should_stop)
        session.resume(plan, state, snapshot)
        return TrainingRun(session, inputs, pool, state, controls, lambda: decided)

    def predict(
        self,
        image: ArrayLike,
        axes: str | None = None,
        *,
        branches: bool = False,
        tta: bool | None = None,
        draws: int | None = None,
        corrections: bool = True,
    ) -> Result:
        """Denoise an image.

        Parameters
        ----------
        image, axes, tta, draws, corrections
            As in `predict_events`.
        branches : bool
            Whether to return the outputs of both branches, too.

        Returns
        -------
        Result

        Raises
        ------
        InputError, ConfigError, DeviceError
            As in `predict_events`.
        """
        outputs = self.session.allocate(image, axes, branches=branches)
        for _ in self.predict_events(
            image, axes, outputs=outputs, tta=tta, draws=draws, corrections=corrections
        ):
            pass
        return Result(**outputs, provenance=dict(self.session.provenance))

    @on_the_cpu
    def predict_events(
        self,
        image: ArrayLike,
        axes: str | None = None,
        *,
        outputs: dict[str, Any],
        should_stop: Callable[[], bool] | None = None,
        tta: bool | None = None,
        draws: int | None = None,
        corrections: bool = True,
        samples: Sequence[tuple[int, ...]] | None = None,
        window: tuple[slice, slice] | None = None,
    ) -> Iterator[TileDone]:
        """Denoise an image tile by tile into ``outputs``, as a generator of events.

        Parameters
        ----------
        image, axes
            As in `fit_events`; never modified.
        outputs : dict
            Arrays to fill, as `Session.allocate` makes them: numpy, zarr, or anything that supports
            item assignment.
        should_stop : callable, optional
            Ends the prediction, also within a tile.
        tta : bool, optional
            Test-time augmentation: average over the image and its flipped copy. Default
            ``tiling.tta``.
        draws : int, optional
            Recorrupted images to average over, for a model that was trained by R2R from random
            weights; 0 denoises the image itself. Default ``objective.draws``.
        corrections : bool
            Whether to subtract line offsets and smooth noise if the plan of the model does.
        samples : sequence of tuple of int, optional
            Indices of the planes to denoise, in all axes but C, Y and X. Default all.
        window : tuple of slice, optional
            Rows and columns to denoise, with the pixels of the whole prediction, unless recorrupted
            images are drawn. Default all.

        Yields
        ------
        TileDone

        Raises
        ------
        ConfigError
            When nothing was trained or loaded.
        InputError
            When the image does not fit the model, or its grey levels differ much from those of the
            model.
        DeviceError
            When the smallest tile does not fit the device's memory.
        """
        session = self.session
        planes = session.planes(image, axes)
        session.apply_judgement(should_stop)
        network, normalisation = session.network(), session.trained_normalisation()
        check_scale(planes, normalisation, session.grey_scales)
        plan = session.trained_plan()
        count = plan.config.objective.draws if draws is None else draws
        if int(count) != count or count < 0:
            raise ConfigError(f"draws is {count!r}: give a whole number, 0 or more")
        tiling = self.config.tiling
        yield from predict_planes(
            network,
            planes,
            normalisation,
            outputs,
            plan.config.model_copy(update={"tiling": tiling}),
            self.device,
            session.draws(count) if count else None,
            should_stop,
            tta=tiling.uses_tta(planes.pixels) if tta is None else tta,
            corrections=plan.corrections if corrections else Corrections(),
            samples=samples,
            window=window,
        )

    @on_the_cpu
    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the model as safetensors, with its configuration and plan in the header.

        Parameters
        ----------
        path : path
            Ends in ``.safetensors``.
        overwrite : bool

        Returns
        -------
        Path
            Path of the file.

        Raises
        ------
        ConfigError
            When nothing was trained or loaded.
        OutputError
            When the file exists and ``overwrite`` is not set, or has another suffix.
        """
        session = self.session
        session.apply_judgement()
        plan = session.trained_plan()
        return save_model(
            path,
            session.network(),
            plan.config,
            session.trained_normalisation(),
            session.provenance,
            plan=plan.as_json(),
            overwrite=overwrite,
        )

    @classmethod
    @on_the_cpu
    def load(cls, path: str | Path, device: str | None = None) -> Redenoiser:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : path
        device : str, optional
            As in `Redenoiser`.

        Returns
        -------
        Redenoiser

        Raises
        ------
        ModelFileError
            When the file is missing, damaged, or not a model of this package.
        """
        file = load_model(path)
        try:
            plan = TrainingPlan(file.config, file.config)
            if file.plan is not None:
                plan = TrainingPlan.from_json(file.plan)
        except ValueError as error:
            raise ModelFileError(f"{path} does not fit its own description: {error}") from error
        model = cls(plan.asked, device)
        model.session.load(plan, file.network, file.normalisation, file.provenance)
        return model
