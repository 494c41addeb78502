"""The trained state of a model: network, snapshots, previews, and the judgement."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection
from typing import Any

import numpy as np
import torch

from napari_redenoise.data import (
    SMALLEST_SIDE,
    ArrayLike,
    GreyScale,
    Normalisation,
    Planes,
    PlaneScales,
    result_dtype,
)
from napari_redenoise.devices import on_the_cpu, training_dtype
from napari_redenoise.errors import ConfigError, InputError
from napari_redenoise.inference import Draws, normalised_context, predict_tile
from napari_redenoise.io import result_array
from napari_redenoise.model._corrections import correct
from napari_redenoise.model._judge import Judge
from napari_redenoise.model._judgement import Judgement
from napari_redenoise.model._plan import TrainingPlan
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
    """The trained state of a model.

    Attributes
    ----------
    device : torch.device
    plan : TrainingPlan or None
        Plan of the training; None before it.
    normalisation : Normalisation or None
        Normalisation of the images; None before the training.
    provenance : dict
        Settings and training, as plain values; empty before the training.
    state : TrainingState or None
        State from which the training is resumed; None for a model from a file.
    judge : Judge or None
        Hold-out test of a fine-tuning; None where its judgement is made or not due.
    is_loaded : bool
        Whether the model comes from a file.
    grey_scales : tuple of GreyScale
        Of the training images; a model from a file knows none.
    is_training : bool
        Whether a training is running.
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
        self.grey_scales: tuple[GreyScale, ...] = ()
        self.history = Snapshots()
        self._network: DenoisingNetwork | None = None
        self._delivered: DenoisingNetwork | None = None

    @property
    def is_trained(self) -> bool:
        """Whether there is a trained or loaded network."""
        return self._network is not None

    @property
    def step(self) -> int:
        """Number of training steps of the current weights."""
        return int(self.provenance.get("steps", 0))

    @property
    def snapshots(self) -> tuple[Snapshot, ...]:
        """Snapshots of the training by step, at most 16."""
        return self.history.all

    def use_snapshot(self, step: int) -> None:
        """Roll back to a snapshot; that of the last step is the training without a judgement.

        Parameters
        ----------
        step : int

        Raises
        ------
        ConfigError
            When there is no snapshot of the step, or during training.
        """
        self._refuse_during_training("a snapshot is chosen")
        snapshot = self.history.find(step)
        self.judge = None
        if self.state is not None and self.state.step == step:
            self._network = self.state.average
        else:
            self._network = snapshot.network(self.trained_plan().config.network, self.device)
        self.provenance = dict(snapshot.provenance)

    @on_the_cpu
    @torch.inference_mode(mode=False)  # The copy can be trained even if the caller infers.
    def copy(self) -> Session:
        """Copy the session, to continue training separately.

        Returns
        -------
        Session

        Raises
        ------
        ConfigError
            During training.
        """
        self._refuse_during_training("it is copied")
        copied = copy.copy(self)
        # Together, because they share networks.
        copied._network, copied.state, copied._delivered = copy.deepcopy(
            (self._network, self.state, self._delivered)
        )
        copied.history = self.history.copy()
        copied.provenance = dict(self.provenance)
        return copied

    @on_the_cpu
    @torch.inference_mode(mode=False)
    def apply_judgement(self, should_stop: Callable[[], bool] | None = None) -> Judgement | None:
        """Keep as much of the fine-tuning as improves the result.

        It takes a few seconds, so a stopped training leaves it to prediction or saving.

        Parameters
        ----------
        should_stop : callable, optional
            Postpones the judgement.

        Returns
        -------
        Judgement or None
            None where no judgement is due, or it was postponed.
        """
        judge, state = self.judge, self.state
        if judge is None or state is None or self.is_training:
            return None
        judgement = judge.judge(state.average, state.step, should_stop or (lambda: False))
        if judgement is None:
            return None
        self.judge = None
        self.provenance = {**self.provenance, "judgement": judgement.as_json()}
        if judgement.share < 1:
            self._network = self._delivered = self._interpolate(state.average, judgement.share)
        return judgement

    def allocate(
        self,
        image: ArrayLike,
        axes: str | None = None,
        *,
        branches: bool = False,
        denoised: Any = None,
        names: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Make the arrays that `Redenoiser.predict_events` fills, by name.

        They are float32, or float64 where float32 cannot resolve the grey levels. Large ones are
        zarr arrays in a temporary folder.

        Parameters
        ----------
        image, axes
            As in `Redenoiser.predict_events`.
        branches : bool
            Whether to include the outputs of both branches.
        denoised : array-like, optional
            Array for the denoised image, instead of a new one.
        names : collection of str, optional
            Outputs to make, instead of all of the network.

        Returns
        -------
        dict
        """
        if names is None:
            names = ["denoised"]
            if self.trained_plan().config.network.kind == "adarenet":
                names += ["mask", "standard", "equivariant"] if branches else ["mask"]
        planes = self.planes(image, axes)
        outputs = {} if denoised is None else {"denoised": denoised}
        for name in names:
            if name not in outputs:
                dtype = np.float32 if name == "mask" else result_dtype(planes)
                outputs[name] = result_array(planes, channels=name != "mask", dtype=dtype)
        return outputs

    def preview(
        self, image: ArrayLike, axes: str | None, window: Window, *, step: int | None = None
    ) -> PreviewDone:
        """Denoise a window of an image with the current weights or a snapshot.

        Parameters
        ----------
        image, axes
            As in `Redenoiser.fit_events`.
        window : Window
        step : int, optional
            Step of the snapshot, without rolling back to it; possible during training.

        Returns
        -------
        PreviewDone

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

    @on_the_cpu
    def preview_with(
        self,
        network: DenoisingNetwork,
        planes: Planes,
        window: Window,
        step: int,
        should_stop: Callable[[], bool] | None = None,
    ) -> PreviewDone:
        """Denoise a window by a given network; ``should_stop`` interrupts the corrections."""
        plan, normalisation = self.trained_plan(), self.trained_normalisation()
        dtype = training_dtype(self.device, plan.config.training.precision)

        def read(sample: tuple[int, ...]) -> np.ndarray:
            pixels = planes.read(sample, window.rows, window.columns)
            if min(pixels.shape[1:]) < SMALLEST_SIDE or not plan.corrections:
                return pixels
            # In the window alone: a whole plane takes too long.
            whole = Planes(pixels, "CYX")
            corrected = correct(whole, plan.corrections, self.device, should_stop)
            return corrected.read((), slice(None), slice(None))

        pixels = read(window.sample)
        scales = PlaneScales(planes, normalisation)
        around = [None if one is None else read(one) for one in scales.neighbours(window.sample)]
        draws = self.draws(1)
        if draws is None:
            normalisation = scales.normalisation(window.sample)
        context = normalised_context(around, pixels, normalisation)
        arrays = predict_tile(network, pixels, normalisation, dtype, draws, context=context)
        return PreviewDone(step, window, arrays.denoised, arrays.mask)

    def begin(
        self,
        plan: TrainingPlan,
        state: TrainingState,
        normalisation: Normalisation,
        grey_scales: tuple[GreyScale, ...],
    ) -> None:
        """Replace the trained state by that of a new training; ``grey_scales``: of its images."""
        self._forget()
        self.grey_scales = grey_scales
        self.plan, self.normalisation = plan, normalisation
        self.state, self._network = state, state.average

    def resume(self, plan: TrainingPlan, state: TrainingState, here: Snapshot) -> None:
        """Continue training from a snapshot; drop later ones."""
        state.schedule_start = here.step
        self.plan, self.state, self._network = plan, state, state.average
        self.history.resume(here)

    def load(
        self,
        plan: TrainingPlan,
        network: DenoisingNetwork,
        normalisation: Normalisation,
        provenance: dict[str, Any],
    ) -> None:
        """Replace the trained state by that of a file."""
        self._forget()
        self.plan, self.normalisation, self._network = plan, normalisation, network
        self.provenance, self.is_loaded = provenance, True

    def network(self) -> DenoisingNetwork:
        """Return the network in evaluation mode.

        Returns
        -------
        DenoisingNetwork

        Raises
        ------
        ConfigError
            When nothing was trained or loaded.
        """
        if self._network is None:
            raise ConfigError(_UNTRAINED)
        return self._network.eval()

    def trained_plan(self) -> TrainingPlan:
        """Return the plan; raise as `network` does."""
        if self.plan is None:
            raise ConfigError(_UNTRAINED)
        return self.plan

    def trained_normalisation(self) -> Normalisation:
        """Return the normalisation; raise as `network` does."""
        if self.normalisation is None:
            raise ConfigError(_UNTRAINED)
        return self.normalisation

    def planes(self, image: ArrayLike, axes: str | None) -> Planes:
        """Convert an image to planes; raise an InputError for another number of channels."""
        planes = as_planes(image, axes)
        self.check_channels(planes)
        if self.plan is None:
            return planes
        return planes.with_context(self.plan.config.network.neighbours // 2)

    def check_channels(self, planes: Planes) -> None:
        """Refuse planes with another number of channels than the training images."""
        if self.plan is None:
            return
        expected = self.plan.config.network.channels
        if planes.channels != expected:
            trained = "1 channel" if expected == 1 else f"{expected} channels"
            raise InputError(
                f"the network was trained on {trained}, the image has "
                f"{planes.channels}: train on this image, or choose one of the same kind"
            )

    def draws(self, count: int) -> Draws | None:
        """Make the draws of recorrupted images, or None to denoise the image itself."""
        config = self.trained_plan().config
        if not should_recorrupt(config):
            return None
        objective = make_objective(config.objective, self.trained_normalisation())
        return make_draws(objective, count, config.training.seed)

    def current_snapshot(self) -> Snapshot:
        """Return the snapshot from which a training is resumed."""
        for snapshot in self.snapshots:
            if snapshot.step == self.step:
                return snapshot
        loss = self.provenance.get("loss")
        return Snapshot.of(self.network(), [] if loss is None else [loss], self.provenance)

    def can_resume(self) -> bool:
        """Whether the optimiser belongs to the current weights."""
        used = self._network
        return self.state is not None and (used is self.state.average or used is self._delivered)

    def _interpolate(self, tuned: DenoisingNetwork, share: float) -> DenoisingNetwork:
        """Interpolate from the pretrained (share 0) to the fine-tuned weights (share 1)."""
        network = copy.deepcopy(tuned)
        weights = pretrained_weights(self.trained_plan().config.network)
        with torch.no_grad():
            for name, value in network.named_parameters():
                pretrained = weights[name].to(value)
                # NaN weights would remain with a share of 0.
                value.copy_(pretrained if share == 0 else torch.lerp(pretrained, value, share))
        return network

    def _refuse_during_training(self, what: str) -> None:
        if self.is_training:
            raise ConfigError(f"the model is being trained: stop it before {what}")
