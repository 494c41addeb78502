"""Training on arrays, from fresh weights or from what a model has learned already."""

from __future__ import annotations

import copy
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Self

import torch

import napari_redenoise
from napari_redenoise.config import Config
from napari_redenoise.data import (
    SMALLEST_SIDE,
    ArrayLike,
    Normalisation,
    Planes,
    Pool,
    check_scale,
    load_pool,
)
from napari_redenoise.devices import get_device, memory_in_words, training_dtype
from napari_redenoise.errors import ConfigError, InputError
from napari_redenoise.inference import Draws, predict_window
from napari_redenoise.model._judge import Judge
from napari_redenoise.model._judgement import Judgement
from napari_redenoise.model._line_correction import correct_lines
from napari_redenoise.model._material import (
    Material,
    as_planes,
    draws_of,
    figures,
    make_objective,
    shows_draws,
)
from napari_redenoise.model._objective_choice import forgotten
from napari_redenoise.model._preparation import prepared
from napari_redenoise.model._pretrained import (
    has_warm_start,
    resolve_start,
    warm_network,
    warm_weights,
)
from napari_redenoise.model._previews import FIRST_STEP, PreviewDone, Previews, Window
from napari_redenoise.model._session import Controls, Session, steps_of
from napari_redenoise.model._snapshots import Snapshot, Snapshots
from napari_redenoise.nn import DenoisingNetwork
from napari_redenoise.training import StepDone, TrainingState, go_on, start


class Learner:
    """What a model has learned, and how it learns more: the half of `Redenoiser` that trains.

    Parameters
    ----------
    config : Config, optional
    device : str, optional
    """

    def __init__(self, config: Config | None = None, device: str | None = None) -> None:
        self.config = config or Config()
        self.device = get_device(device)
        self.normalisation: Normalisation | None = None
        self.provenance: dict[str, Any] = {}
        self._network: DenoisingNetwork | None = None
        self._state: TrainingState | None = None
        self._snapshots = Snapshots()
        self._is_loaded = False
        self._is_training = False
        self._unjudged: Judge | None = None
        self._delivered: DenoisingNetwork | None = None
        self._wanted_start = self.config.training.start

    @property
    def is_trained(self) -> bool:
        """Whether there is anything to predict with."""
        return self._network is not None

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """What `fit_events` and `continue_events` went through, at most 16, by step."""
        return self._snapshots.all

    def begins_warm(self, image: ArrayLike, axes: str | None = None) -> bool:
        """Whether `fit` would begin with weights that come with the package."""
        channels = as_planes(image, axes).channels
        network = self.config.changed(**{"network.channels": channels}).network
        return self._wanted_start == "warm" and has_warm_start(network)

    def fit(
        self,
        image: ArrayLike,
        axes: str | None = None,
        *,
        second: ArrayLike | None = None,
        region: ArrayLike | None = None,
        others: Sequence[ArrayLike] = (),
    ) -> Self:
        """Train on an image, from fresh weights; see `fit_events`."""
        for _ in self.fit_events(image, axes, second=second, region=region, others=others):
            pass
        return self

    def fit_events(
        self,
        image: ArrayLike,
        axes: str | None = None,
        *,
        second: ArrayLike | None = None,
        region: ArrayLike | None = None,
        others: Sequence[ArrayLike] = (),
        view: Callable[[], Window | None] | None = None,
        should_stop: Callable[[], bool] | None = None,
        should_pause: Callable[[], bool] | None = None,
    ) -> Generator[StepDone | PreviewDone | Judgement, None, None]:
        """Train on an image, from fresh weights, as a generator of events.

        Leaving the generator at any event keeps what was learned up to then. Where training begins
        with pretrained weights, the last event is a `Judgement`: how much of the way from these to
        the fine-tuned ones is kept, by pixels that were held out. After a stop it is made when the
        model is next used.

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
        region : array-like of bool or integers, optional
            Where to learn from: patches have their centre where it is not zero, and the
            normalisation is measured there. Of the image's shape without channels, or of the
            plane's (Y, X) for all samples.
        others : sequence of array-like
            Further images of the same axes and channels, of any other sizes, to train on together
            with this one; the noise is measured and previews are made of this one.
        view : callable, optional
            Says which window to preview, or None for none; asked between steps.
        should_stop : callable, optional
            Ends the training within a step; asked between steps and within a preview.
        should_pause : callable, optional
            While it says so, no step is made, and of previews those of a changed view only.

        Raises
        ------
        InputError
            When an image or the region cannot be trained on.
        ConfigError
            When the objective does not go with the image, or the others not with the rest.
        DeviceError
            When the device's memory does not suffice.
        """
        material = Material.of(image, axes, second, region, others)
        planes = material.planes
        config = resolve_start(
            self.config.changed(
                **{"network.channels": planes.channels, "training.start": self._wanted_start}
            )
        )
        # What is known of another image's noise is not true of this one's.
        config = config.model_copy(update={"objective": forgotten(config.objective)})
        is_warm = config.training.start == "warm"
        shots = material.shots(config.objective)
        with memory_in_words(self.device):
            state = start(config, self.device)
            if is_warm:
                for network in (state.network, state.average):
                    network.load_state_dict(warm_weights(config.network))
            pool = load_pool(shots, state.generator, should_stop=should_stop)
            if not is_warm:
                # Otherwise when the first step is due: there is something to see before.
                config, pool, _ = prepared(
                    config, material, pool, state.generator, self.device, should_stop
                )
            self.config, self.normalisation = config, pool.normalisation
            self._state, self._network, self.provenance = state, state.average, {}
            self._snapshots, self._is_loaded = Snapshots(), False
            self._unjudged = self._delivered = None
            controls = Controls.of(view, should_stop, should_pause)
            yield from self._train(state, material, pool, controls)

    def continue_events(
        self,
        image: ArrayLike,
        axes: str | None = None,
        *,
        steps: int,
        second: ArrayLike | None = None,
        region: ArrayLike | None = None,
        others: Sequence[ArrayLike] = (),
        view: Callable[[], Window | None] | None = None,
        should_stop: Callable[[], bool] | None = None,
        should_pause: Callable[[], bool] | None = None,
    ) -> Generator[StepDone | PreviewDone | Judgement, None, None]:
        """Train on from what the model has learned, as a generator of events.

        The learning rate warms up again and falls to zero over the additional steps, whose
        numbers go on counting; the configuration then tells the total. The normalisation stays
        that of the model.

        Parameters
        ----------
        image, axes, second, region, others, view, should_stop, should_pause
            As in `fit_events`.
        steps : int
            How many more.

        Raises
        ------
        InputError
            When an image cannot be trained on, or does not fit the model.
        ConfigError
            When nothing was trained or loaded, and as in `fit_events`.
        DeviceError
            When the device's memory does not suffice.

        Notes
        -----
        A training goes on with its optimiser; from a model file or a chosen snapshot, of which
        only the averaged weights are known, with a fresh one. Snapshots that are later than the
        chosen one are forgotten.
        """
        network, normalisation = self._trained()
        if steps < 1:
            raise ConfigError(f"{steps} more steps are nothing to train: give at least 1")
        material = Material.of(image, axes, second, region, others)
        self._check_channels(material.planes)
        if self._is_loaded:
            check_scale(material.planes, normalisation)
        here = self._here()
        config = self.config.changed(**{"training.steps": here.step + steps})
        shots = material.shots(config.objective)
        with memory_in_words(self.device):
            state = self._state
            if state is None or (network is not state.average and network is not self._delivered):
                state = go_on(config, network.state_dict(), here.step, self.device)
            pool = load_pool(shots, state.generator, normalisation, should_stop=should_stop)
            config, pool, knows = prepared(
                config, material, pool, state.generator, self.device, should_stop
            )
            state.began = here.step
            self.config, self._state, self._network = config, state, state.average
            self._snapshots.go_on(here)
            controls = Controls.of(view, should_stop, should_pause)
            yield from self._train(state, material, pool, controls, knows=knows)

    @torch.inference_mode(mode=False)  # The copy can be trained, whatever the caller is in.
    def copy(self) -> Self:
        """A model of its own with all that this one has learned, to train on without changing it.

        Raises
        ------
        ConfigError
            When a training is under way.
        """
        if self._is_training:
            raise ConfigError("the model is being trained: stop it before it is copied")
        twin = copy.copy(self)
        # Together, because they share networks.
        twin._network, twin._state, twin._delivered = copy.deepcopy(
            (self._network, self._state, self._delivered)
        )
        twin._snapshots = self._snapshots.copy()
        twin.provenance = dict(self.provenance)
        return twin

    def use_snapshot(self, step: int) -> None:
        """Predict, preview, save and train on with the weights of a snapshot.

        Those of the last step bring the training back as it was left.

        Raises
        ------
        ConfigError
            When there is no snapshot of the step, or a training is under way.
        """
        if self._is_training:
            raise ConfigError("the model is being trained: stop it before a snapshot is chosen")
        snapshot = self._snapshots.find(step)
        self._unjudged = None
        if self._state is not None and self._state.step == step:
            self._network = self._state.average
        else:
            self._network = snapshot.network(self.config.network, self.device)
        self.provenance = dict(snapshot.provenance)

    def _planes(self, image: ArrayLike, axes: str | None) -> Planes:
        planes = as_planes(image, axes)
        self._check_channels(planes)
        return planes

    def _check_channels(self, planes: Planes) -> None:
        expected = self.config.network.channels
        if self.is_trained and planes.channels != expected:
            raise InputError(
                f"the model was trained on {expected} channel(s), the image has "
                f"{planes.channels}: train on this image, or choose one of the same kind"
            )

    def _trained(self) -> tuple[DenoisingNetwork, Normalisation]:
        if self._network is None or self.normalisation is None:
            raise ConfigError("this model has not been trained: call fit() or load() first")
        return self._network.eval(), self.normalisation

    def _here(self) -> Snapshot:
        """What the model is now, from which a training goes on."""
        network, _ = self._trained()
        step = self.provenance.get("steps", 0)
        for snapshot in self.snapshots:
            if snapshot.step == step:
                return snapshot
        loss = self.provenance.get("loss")
        return Snapshot.of(network, [] if loss is None else [loss], self.provenance)

    def _train(
        self,
        state: TrainingState,
        material: Material,
        pool: Pool,
        controls: Controls,
        *,
        knows: bool = True,
    ) -> Generator[StepDone | PreviewDone | Judgement, None, None]:
        planes, snapshots = material.planes, self._snapshots
        dtype = training_dtype(self.device, self.config.training.precision)
        before = self.provenance.get("seconds", 0.0)

        def now() -> Snapshot:
            return Snapshot.of(state.average, state.losses, self.provenance)

        def made(step: StepDone, seconds: float) -> None:
            self.provenance = self._describe(material, step, before + seconds)
            if snapshots.is_due(step.step):
                snapshots.keep(now())

        def rested() -> None:
            if state.step > state.began:
                snapshots.rest(now())

        def steps() -> Iterator[StepDone]:
            learned, is_known = pool, knows
            if is_warm and state.step == 0:
                self.config, learned, is_known = prepared(
                    self.config, material, pool, state.generator, self.device, controls.stops
                )
                if controls.stops():
                    return
                self.provenance = self._describe(material, None, 0.0)
                if self.config.training.total_steps == 0:
                    return
                snapshots.keep(now())
            if is_warm:
                self._unjudged = self._judge_of(learned, dtype, is_known, controls.stops)
                learned = self._unjudged.pool
            yield from steps_of(state, self.config, learned, dtype)

        if controls.stops():
            return
        is_warm = self.config.training.start == "warm"
        if is_warm and state.step == 0:
            self.provenance = self._describe(material, None, 0.0)
        previews = Previews(
            state.average,
            lambda window, step: self._preview(state.average, planes, window, step, controls.stops),
            controls.view,
            controls.stops,
            first=0 if is_warm or state.began else FIRST_STEP,
        )
        self._is_training = True
        try:
            yield from Session(steps(), previews, controls, made, rested).events(state.step)
        finally:
            self._is_training = False
            rested()
            if state.step == state.began:
                self._unjudged = None
        if not controls.stops():
            judgement = self.settle(controls.stops)
            if judgement is not None:
                yield judgement

    def _judge_of(
        self, pool: Pool, dtype: torch.dtype, is_known: bool, should_stop: Callable[[], bool]
    ) -> Judge:
        """What compares a fine-tuned network with the pretrained one."""
        config = self.config
        # Structure that the pretrained network takes for noise would be judged as noise.
        noise = None if is_known or config.objective.noise is None else config.objective.noise
        judge = Judge(
            pool,
            config.network.channels,
            config.training.seed,
            dtype,
            None if noise is None else figures(noise, pool.normalisation),
        )
        network = warm_network(self.config.network).to(self.device)
        judge.begin(network.requires_grad_(False), should_stop)
        return judge

    @torch.inference_mode(mode=False)
    def settle(self, should_stop: Callable[[], bool] | None = None) -> Judgement | None:
        """Take as much of a fine-tuning as improves the result.

        After a training that was stopped this is left to whoever uses the model next, since it
        takes a few seconds; predicting and saving do so.

        Parameters
        ----------
        should_stop : callable, optional
            Leaves it undecided.

        Returns
        -------
        Judgement or None
            None where there is nothing to decide, or it was left undecided.
        """
        judge, state = self._unjudged, self._state
        if judge is None or state is None or self._is_training:
            return None
        judgement = judge.judge(state.average, state.step, should_stop or (lambda: False))
        if judgement is None:
            return None
        self._unjudged = None
        self.provenance = {**self.provenance, "judgement": judgement.describe()}
        if judgement.share < 1:
            self._network = self._delivered = self._between(state.average, judgement.share)
        return judgement

    def _between(self, tuned: DenoisingNetwork, share: float) -> DenoisingNetwork:
        """A network so far on the way from the pretrained weights to the fine-tuned ones."""
        network = copy.deepcopy(tuned)
        weights = warm_weights(self.config.network)
        with torch.no_grad():
            for name, value in network.named_parameters():
                pretrained = weights[name].to(value)
                # Weights that are no numbers any more would remain, however small their share.
                value.copy_(pretrained if share == 0 else torch.lerp(pretrained, value, share))
        return network

    def _preview(
        self,
        network: DenoisingNetwork,
        planes: Planes,
        window: Window,
        step: int,
        should_stop: Callable[[], bool] | None = None,
    ) -> PreviewDone:
        _, normalisation = self._trained()
        dtype = training_dtype(self.device, self.config.training.precision)
        pixels = planes.read(window.sample, window.rows, window.columns)
        if min(pixels.shape[1:]) >= SMALLEST_SIDE:
            # Of what is seen alone: a whole plane would take too long.
            seen = self._without_lines(Planes(pixels, "CYX"), should_stop)
            pixels = seen.read((), slice(None), slice(None))
        arrays = predict_window(network, pixels, normalisation, dtype, self._draws(1))
        return PreviewDone(step, window, arrays.denoised, arrays.mask)

    def _without_lines(
        self, planes: Planes, should_stop: Callable[[], bool] | None = None
    ) -> Planes:
        """Without offsets of lines, where the image that was learned from had such."""
        return correct_lines(planes, self.config.objective.lines, self.device, should_stop)

    def _draws(self, count: int) -> Draws | None:
        """What is shown of a picture, where that is not the picture itself."""
        if self.normalisation is None or not shows_draws(self.config):
            return None
        objective = make_objective(self.config.objective, self.normalisation)
        return draws_of(objective, count, self.config.training.seed)

    def _describe(
        self, material: Material, step: StepDone | None, seconds: float
    ) -> dict[str, Any]:
        planes = material.planes
        dtype = training_dtype(self.device, self.config.training.precision)
        return {
            "version": napari_redenoise.__version__,
            "config": self.config.model_dump(mode="json"),
            "axes": planes.axes,
            "shape": [int(size) for size in planes.array.shape],
            "region": planes.region is not None,
            "images": 1 + len(material.others),
            "steps": step.step if step else 0,
            "loss": step.loss if step else None,
            "batch_size": step.patches if step else None,
            "seconds": round(seconds, 2),
            "device": str(self.device),
            "precision": str(dtype).removeprefix("torch."),
            "torch": torch.__version__,
        }
