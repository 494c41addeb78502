"""What a model has learned: its network, snapshots and previews, and what of it is delivered."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

from napari_redenoise.data import SMALLEST_SIDE, ArrayLike, Normalisation, Planes
from napari_redenoise.devices import training_dtype
from napari_redenoise.errors import ConfigError, InputError
from napari_redenoise.inference import Draws, predict_window
from napari_redenoise.model._judge import Judge
from napari_redenoise.model._judgement import Judgement
from napari_redenoise.model._line_correction import correct_lines
from napari_redenoise.model._plan import TrainingPlan
from napari_redenoise.model._prediction import allocate
from napari_redenoise.model._pretrained import pretrained_weights
from napari_redenoise.model._previews import PreviewDone, Window
from napari_redenoise.model._snapshots import Snapshot, Snapshots
from napari_redenoise.model._training_images import (
    as_planes,
    make_draws,
    make_objective,
    should_recorrupt,
)
from napari_redenoise.nn import DenoisingNetwork
from napari_redenoise.training import TrainingState

_UNTRAINED = "this model has not been trained: call fit() or load() first"


class Session:
    """What a model has learned so far.

    Attributes
    ----------
    device : torch.device
    plan : TrainingPlan or None
        Of the training; None before there was one.
    normalisation : Normalisation or None
        Of the images; None before there was a training.
    provenance : dict
        What was run, as plain values; empty before anything was learned.
    state : TrainingState or None
        Where a training stopped, to resume it; None for a model from a file.
    judge : Judge or None
        Decides what of a fine-tuning is delivered; None where that is decided, or not due.
    is_loaded : bool
        Whether the model comes from a file.
    is_training : bool
        Whether a training is under way.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.is_training = False
        self._forget()

    def _forget(self) -> None:
        self.plan: TrainingPlan | None = None
        self.normalisation: Normalisation | None = None
        self.provenance: dict[str, Any] = {}
        self.state: TrainingState | None = None
        self.judge: Judge | None = None
        self.is_loaded = False
        self.history = Snapshots()
        self._network: DenoisingNetwork | None = None
        self._delivered: DenoisingNetwork | None = None

    @property
    def is_trained(self) -> bool:
        """Whether there is anything to predict with."""
        return self._network is not None

    @property
    def step(self) -> int:
        """Training steps behind the weights in use."""
        return int(self.provenance.get("steps", 0))

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """Snapshots of the training, at most 16, by step."""
        return self.history.all

    def use_snapshot(self, step: int) -> None:
        """Predict, preview, save and resume with the weights of a snapshot.

        Those of the last step bring the training back as it was left.

        Raises
        ------
        ConfigError
            When there is no snapshot of the step, or a training is under way.
        """
        self._refuse_during_training("a snapshot is chosen")
        snapshot = self.history.find(step)
        self.judge = None
        if self.state is not None and self.state.step == step:
            self._network = self.state.average
        else:
            self._network = snapshot.network(self.trained_plan().config.network, self.device)
        self.provenance = dict(snapshot.provenance)

    @torch.inference_mode(mode=False)  # The copy can be trained, whatever the caller is in.
    def copy(self) -> Session:
        """A session of its own, to train on without changing this one.

        Raises
        ------
        ConfigError
            When a training is under way.
        """
        self._refuse_during_training("it is copied")
        twin = copy.copy(self)
        # Together, because they share networks.
        twin._network, twin.state, twin._delivered = copy.deepcopy(
            (self._network, self.state, self._delivered)
        )
        twin.history = self.history.copy()
        twin.provenance = dict(self.provenance)
        return twin

    @torch.inference_mode(mode=False)
    def apply_judgement(self, should_stop: Callable[[], bool] | None = None) -> Judgement | None:
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
        judge, state = self.judge, self.state
        if judge is None or state is None or self.is_training:
            return None
        judgement = judge.judge(state.average, state.step, should_stop or (lambda: False))
        if judgement is None:
            return None
        self.judge = None
        self.provenance = {**self.provenance, "judgement": judgement.describe()}
        if judgement.share < 1:
            self._network = self._delivered = self._between(state.average, judgement.share)
        return judgement

    def allocate(
        self,
        image: ArrayLike,
        axes: str | None = None,
        *,
        branches: bool = False,
        denoised: Any = None,
    ) -> dict[str, Any]:
        """Make the arrays that `Redenoiser.predict_events` fills, by name.

        They are float32, or float64 where that could not tell the grey levels apart. Large ones
        are zarr arrays in a temporary folder.

        Parameters
        ----------
        image, axes
            As in `Redenoiser.predict_events`.
        branches : bool
            Also the outputs of both branches.
        denoised : array-like, optional
            Takes the denoised image, instead of a new array.
        """
        kind = self.trained_plan().config.network.kind
        return allocate(self.planes(image, axes), kind, branches=branches, denoised=denoised)

    def preview(
        self, image: ArrayLike, axes: str | None, window: Window, *, step: int | None = None
    ) -> PreviewDone:
        """Denoise a window of an image with what has been learned so far.

        Parameters
        ----------
        image, axes
            As in `Redenoiser.fit_events`.
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
        planes = self.planes(image, axes)
        if step is None:
            return self.preview_with(self.network(), planes, window, self.step)
        network = self.trained_plan().config.network
        with self.history.shown(step, network, self.device) as shown:
            return self.preview_with(shown, planes, window, step)

    def preview_with(
        self,
        network: DenoisingNetwork,
        planes: Planes,
        window: Window,
        step: int,
        should_stop: Callable[[], bool] | None = None,
    ) -> PreviewDone:
        """As `preview`, with a network that is given; ``should_stop`` leaves a line correction.

        Raises
        ------
        Interrupted
            When stopped.
        """
        plan, normalisation = self.trained_plan(), self.trained_normalisation()
        dtype = training_dtype(self.device, plan.config.training.precision)
        pixels = planes.read(window.sample, window.rows, window.columns)
        if min(pixels.shape[1:]) >= SMALLEST_SIDE and plan.lines != "none":
            # Of the window alone: a whole plane would take too long.
            seen = correct_lines(Planes(pixels, "CYX"), plan.lines, self.device, should_stop)
            pixels = seen.read((), slice(None), slice(None))
        arrays = predict_window(network, pixels, normalisation, dtype, self.draws(1))
        return PreviewDone(step, window, arrays.denoised, arrays.mask)

    def begin(self, plan: TrainingPlan, state: TrainingState, normalisation: Normalisation) -> None:
        """Forget what was learned before: a training begins."""
        self._forget()
        self.plan, self.normalisation = plan, normalisation
        self.state, self._network = state, state.average

    def resume(self, plan: TrainingPlan, state: TrainingState, here: Snapshot) -> None:
        """Train on from a snapshot; later ones are dropped."""
        state.began = here.step
        self.plan, self.state, self._network = plan, state, state.average
        self.history.resume(here)

    def load(
        self,
        plan: TrainingPlan,
        network: DenoisingNetwork,
        normalisation: Normalisation,
        provenance: dict[str, Any],
    ) -> None:
        """Take what a file holds."""
        self._forget()
        self.plan, self.normalisation, self._network = plan, normalisation, network
        self.provenance, self.is_loaded = provenance, True

    def network(self) -> DenoisingNetwork:
        """What predicts, in evaluation mode.

        Raises
        ------
        ConfigError
            When nothing was trained or loaded.
        """
        if self._network is None:
            raise ConfigError(_UNTRAINED)
        return self._network.eval()

    def trained_plan(self) -> TrainingPlan:
        """The plan of what was learned; errors as of `network`."""
        if self.plan is None:
            raise ConfigError(_UNTRAINED)
        return self.plan

    def trained_normalisation(self) -> Normalisation:
        """The normalisation of what was learned; errors as of `network`."""
        if self.normalisation is None:
            raise ConfigError(_UNTRAINED)
        return self.normalisation

    def planes(self, image: ArrayLike, axes: str | None) -> Planes:
        """See an image as planes.

        Raises
        ------
        InputError
            When it has another number of channels than what was trained on.
        """
        planes = as_planes(image, axes)
        self.check_channels(planes)
        return planes

    def check_channels(self, planes: Planes) -> None:
        """Refuse planes of another number of channels than what was trained on."""
        if self.plan is None:
            return
        expected = self.plan.config.network.channels
        if planes.channels != expected:
            raise InputError(
                f"the model was trained on {expected} channel(s), the image has "
                f"{planes.channels}: train on this image, or choose one of the same kind"
            )

    def draws(self, count: int) -> Draws | None:
        """What the network is shown of an image, where that is not the image itself."""
        config = self.trained_plan().config
        if not should_recorrupt(config):
            return None
        objective = make_objective(config.objective, self.trained_normalisation())
        return make_draws(objective, count, config.training.seed)

    def current_snapshot(self) -> Snapshot:
        """What the model is now, from which a training is resumed."""
        for snapshot in self.snapshots:
            if snapshot.step == self.step:
                return snapshot
        loss = self.provenance.get("loss")
        return Snapshot.of(self.network(), [] if loss is None else [loss], self.provenance)

    def can_resume(self) -> bool:
        """Whether the optimiser belongs to the weights in use, or it has to be a fresh one."""
        used = self._network
        return self.state is not None and (used is self.state.average or used is self._delivered)

    def _between(self, tuned: DenoisingNetwork, share: float) -> DenoisingNetwork:
        """A network so far on the way from the pretrained weights to the fine-tuned ones."""
        network = copy.deepcopy(tuned)
        weights = pretrained_weights(self.trained_plan().config.network)
        with torch.no_grad():
            for name, value in network.named_parameters():
                pretrained = weights[name].to(value)
                # Weights that are no numbers any more would remain, however small their share.
                value.copy_(pretrained if share == 0 else torch.lerp(pretrained, value, share))
        return network

    def _refuse_during_training(self, what: str) -> None:
        if self.is_training:
            raise ConfigError(f"the model is being trained: stop it before {what}")
