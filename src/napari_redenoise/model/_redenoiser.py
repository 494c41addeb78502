"""The facade on plain arrays: what scripts, the command line and the dock all call."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import torch

from napari_redenoise.config import Config
from napari_redenoise.data import ArrayLike, check_scale, load_pool
from napari_redenoise.devices import get_device, memory_in_words
from napari_redenoise.errors import ConfigError, ModelFileError
from napari_redenoise.inference import Interrupted, TileDone
from napari_redenoise.io import load_model, save_model
from napari_redenoise.model._plan import TrainingPlan, make_plan
from napari_redenoise.model._prediction import Result, predict_planes
from napari_redenoise.model._pretrained import pretrained_weights, resolve_start
from napari_redenoise.model._previews import Window
from napari_redenoise.model._run import Controls, TrainingEvent, TrainingRun
from napari_redenoise.model._session import Session
from napari_redenoise.model._training_images import TrainingImages
from napari_redenoise.noise import NoiseReport
from napari_redenoise.training import go_on, start


class Redenoiser:
    """Trains on noisy pixels alone and denoises.

    Parameters
    ----------
    config : Config, optional
        What is asked for; it is never changed.
    device : str, optional
        ``"cuda:0"``, ``"mps"``, ``"cpu"``; default the fastest there is.

    Attributes
    ----------
    config : Config
    session : Session
        What was learned: plan, provenance, snapshots, previews.

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
        self.config = config or Config()
        self.session = Session(get_device(device))

    def __copy__(self) -> Self:
        """A model of its own with all that this one has learned, to train on without changing it.

        Raises
        ------
        ConfigError
            When a training is under way.
        """
        session = self.session.copy()
        twin = object.__new__(type(self))
        twin.config, twin.session = self.config, session
        return twin

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.session.device

    @device.setter
    def device(self, device: torch.device) -> None:
        self.session.device = device

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
        """Find and decide what `fit` would do, about a second per channel.

        Parameters
        ----------
        image, axes, target, mask, images
            As in `fit_events`.
        reports : sequence of NoiseReport, optional
            Of `measure_noise`, for the same image: it is not measured again.
        should_stop : callable, optional
            Leaves the line correction.

        Returns
        -------
        TrainingPlan

        Raises
        ------
        InputError, ConfigError
            As `fit_events` does.
        Interrupted
            When stopped.
        """
        material = TrainingImages.of(image, axes, target, mask, images)
        material.shots(self.config.objective)
        return make_plan(self.config, material, self.device, should_stop, reports=reports)

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
            As `fit_events` does.
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

        Leaving the generator at any event keeps what was learned up to then. A fine-tuning ends
        with a `Judgement`: how much of the way from the pretrained to the fine-tuned weights is
        kept, by hold-out pixels. After a stop it is made when the model is next used.

        Parameters
        ----------
        image : array-like
            Noisy pixels of any integer or floating dtype; only ever read.
        axes : str, optional
            One letter per axis: Y, X, C (channels denoised together), others are samples.
            Default ``YX``, ``ZYX``, ``TZYX`` or ``STZYX`` by the number of axes.
        target : array-like, optional
            Another shot of the same scene, of the same shape and axes, for Noise2Noise, which
            otherwise takes neighbouring frames of a stack.
        mask : array-like of bool or integers, optional
            Training region: patches have their centre where it is not zero, and the normalisation
            is measured there. Of the image's shape without channels, or of the plane's (Y, X) for
            all samples.
        images : sequence of array-like
            Further images of the same axes and channels, of any other sizes, to train on together
            with this one; the noise is measured and previews are made of this one.
        plan : TrainingPlan, optional
            Of `plan`, for the same image: nothing is measured again.
        resume : bool
            Train on from what was learned, for so many further ``steps``. The learning rate warms
            up again and falls to zero over them; the normalisation stays. The optimiser is resumed
            as well, unless the weights come from a file or a chosen snapshot; snapshots later
            than that are dropped.
        steps : int, optional
            Further steps, where training is resumed; else in place of those of the configuration.
        view : callable, optional
            Says which window to preview, or None for none; asked between steps.
        should_stop : callable, optional
            Ends the training within a step; asked between steps and within a preview.
        should_pause : callable, optional
            While it says so, no step is made, and of previews those of a changed view only.

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
            When the device's memory does not suffice.
        """
        material = TrainingImages.of(image, axes, target, mask, images)
        controls = Controls.of(view, should_stop, should_pause)
        begin = self._resumed if resume else self._begun
        with memory_in_words(self.device):
            try:
                run = begin(material, controls, plan, steps)
            except Interrupted:
                return
            yield from run.events()

    def _begun(
        self,
        material: TrainingImages,
        controls: Controls,
        given: TrainingPlan | None,
        steps: int | None,
    ) -> TrainingRun:
        """A training of fresh or pretrained weights."""
        asked = self.config if steps is None else self.config.replace({"training.steps": steps})

        def planned(should_stop: Callable[[], bool]) -> TrainingPlan:
            return given or make_plan(asked, material, self.device, should_stop)

        channels = {"network.channels": material.planes.channels}
        plan = given or TrainingPlan(asked, resolve_start(asked.replace(channels)))
        shots = material.shots(plan.config.objective)
        if not plan.is_fine_tuning:
            # A fine-tuning is planned when its first step is due: there is something to see before.
            plan = given = planned(controls.stops)
        state = start(plan.config, self.device)
        if plan.is_fine_tuning:
            for network in (state.network, state.average):
                network.load_state_dict(pretrained_weights(plan.config.network))
        pool = load_pool(shots, state.generator, should_stop=controls.stops)
        self.session.begin(plan, state, pool.normalisation)
        return TrainingRun(self.session, material, pool, state, controls, planned)

    def _resumed(
        self,
        material: TrainingImages,
        controls: Controls,
        given: TrainingPlan | None,
        steps: int | None,
    ) -> TrainingRun:
        """A training of what was learned already."""
        session = self.session
        past, normalisation = session.trained_plan(), session.trained_normalisation()
        if steps is None or steps < 1:
            raise ConfigError("training is resumed for a number of steps: give at least 1")
        session.check_channels(material.planes)
        if session.is_loaded:
            check_scale(material.planes, normalisation)
        here = session.current_snapshot()
        last = here.step + steps
        plan = given or make_plan(
            self.config,
            material,
            self.device,
            controls.stops,
            steps=last,
            start=past.config.training.start,
        )
        shots = material.shots(plan.config.objective)
        state = session.state if session.can_resume() else None
        if state is None:
            weights = session.network().state_dict()
            state = go_on(plan.config, weights, here.step, self.device)
        pool = load_pool(shots, state.generator, normalisation, should_stop=controls.stops)
        session.resume(plan, state, here)
        return TrainingRun(session, material, pool, state, controls, lambda _: plan)

    def predict(
        self,
        image: ArrayLike,
        axes: str | None = None,
        *,
        branches: bool = False,
        tta: bool | None = None,
        draws: int | None = None,
        correct_lines: bool = True,
    ) -> Result:
        """Denoise an image.

        Parameters
        ----------
        image, axes, tta, draws, correct_lines
            As in `predict_events`.
        branches : bool
            Also return the outputs of both branches.

        Returns
        -------
        Result

        Raises
        ------
        InputError, ConfigError, DeviceError
            As `predict_events` does.
        """
        outputs = self.session.allocate(image, axes, branches=branches)
        for _ in self.predict_events(
            image, axes, outputs=outputs, tta=tta, draws=draws, correct_lines=correct_lines
        ):
            pass
        return Result(**outputs, provenance=dict(self.session.provenance))

    def predict_events(
        self,
        image: ArrayLike,
        axes: str | None = None,
        *,
        outputs: dict[str, Any],
        should_stop: Callable[[], bool] | None = None,
        tta: bool | None = None,
        draws: int | None = None,
        correct_lines: bool = True,
    ) -> Iterator[TileDone]:
        """Denoise an image tile by tile into ``outputs``, as a generator of events.

        Parameters
        ----------
        image, axes
            As in `fit_events`. Only ever read.
        outputs : dict
            Arrays to fill, as `Session.allocate` makes them: numpy, zarr, or anything that can be
            assigned to.
        should_stop : callable, optional
            Ends the prediction, in the middle of a tile if need be.
        tta : bool, optional
            Test-time augmentation: average over the image and its mirror image. Default where
            ``tiling.tta`` says so.
        draws : int, optional
            Recorrupted images to average over, for a model that was trained by R2R from random
            weights; 0 shows it the image itself. Default ``objective.draws``.
        correct_lines : bool
            Whether to subtract line offsets where the model was trained without them.

        Yields
        ------
        TileDone

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
        session = self.session
        planes = session.planes(image, axes)
        session.apply_judgement(should_stop)
        network, normalisation = session.network(), session.trained_normalisation()
        if session.is_loaded:
            check_scale(planes, normalisation)
        plan = session.trained_plan()
        count = plan.config.objective.draws if draws is None else draws
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
            lines=plan.lines if correct_lines else "none",
        )

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
            Of the file.

        Raises
        ------
        ConfigError
            When nothing was trained or loaded.
        OutputError
            When the file exists and ``overwrite`` is not set, or has another ending.
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
    def load(cls, path: str | Path, device: str | None = None) -> Redenoiser:
        """Read a model that `save` wrote.

        Parameters
        ----------
        path : path
        device : str, optional
            As of `Redenoiser`.

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
            plan = TrainingPlan.of_file(file.config, file.plan)
        except (ConfigError, KeyError, TypeError, ValueError) as error:
            raise ModelFileError(f"{path} does not fit its own description: {error}") from error
        model = cls(plan.asked, device)
        model.session.load(plan, file.network, file.normalisation, file.provenance)
        return model
