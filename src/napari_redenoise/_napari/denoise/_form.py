"""The dock *Denoise* before a run: the chosen layer, the options, and a summary of the run."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Labels, Shapes
from qtpy.QtCore import Signal

from napari_redenoise._napari._layers import LayerImage, read_axes
from napari_redenoise._napari._view import shows_planes
from napari_redenoise._napari._words import set_available
from napari_redenoise._napari.batch._choices import RunOptions
from napari_redenoise._napari.batch._control import BatchControl
from napari_redenoise._napari.denoise._cautions import cautions
from napari_redenoise._napari.denoise._file_axes import FileAxes
from napari_redenoise._napari.denoise._jobs import (
    check,
    instant_config,
    instant_job,
    model_of,
    read,
    target_of,
)
from napari_redenoise._napari.denoise._layer_choice import NO_IMAGE, LayerChoice
from napari_redenoise._napari.denoise._layer_run import LayerRun
from napari_redenoise._napari.denoise._layout import DenoiseLayout
from napari_redenoise._napari.denoise._plan_sentence import (
    NETWORK_CHOSEN,
    NOT_POSSIBLE,
    choose_objective,
    neighbours_in_words,
    summarise_instant,
    summarise_prediction,
    summarise_training,
)
from napari_redenoise._napari.denoise._pretrained_words import why_not_pretrained
from napari_redenoise._napari.denoise._run import Job
from napari_redenoise._napari.denoise._survey import Survey
from napari_redenoise._napari.denoise._surveys import Surveys, image_kind
from napari_redenoise._napari.denoise.panels._axes import CHECK_AXES, known_axes, origin_of_axes
from napari_redenoise._napari.denoise.panels._noise import (
    MEASURING,
    NO_LAYER,
    NOT_MEASURABLE,
    NOT_MEASURED,
)
from napari_redenoise.config import Config
from napari_redenoise.errors import RedenoiseError
from napari_redenoise.model import Redenoiser, is_fine_tuned

A_RUN = "A run is in progress: stop it, or wait for its end."
A_BATCH = "A batch is running: stop it in the tab Batch, or wait for its end."


class DenoiseForm(DenoiseLayout):
    """Chooses a layer and options, and says what a run would do.

    Attributes
    ----------
    config : Config
    run : LayerRun or None
        The current run.
    """

    layer_followed = Signal(object)
    """The chosen layer, or None, after every change of layers and options."""

    def __init__(self, viewer: Any, config: Config) -> None:
        super().__init__(config)
        self._viewer = viewer
        self.run: LayerRun | None = None
        self._listened: Any = None
        self._of_layer: list[tuple[Any, Any]] = []
        self._choice = LayerChoice(viewer, self.layer_choice)
        self._surveys = Surveys()
        self._batch = BatchControl(viewer, self.batch, self._batch_options, self._choice.selected)
        self._batch.running_changed.connect(self._on_batch)
        self._file_axes = FileAxes()
        for part in (self.layer_choice, self.axes, self.options):
            part.changed.connect(self.withdraw_refusal)
            part.changed.connect(self._describe)
        for background in (self._surveys, self._file_axes):
            background.changed.connect(self._describe)

    @property
    def config(self) -> Config:
        """Configuration of a run, which the options modify."""
        return self._config

    @config.setter
    def config(self, config: Config) -> None:
        self._config = config
        self.options.show_config(config)

    @property
    def is_measuring(self) -> bool:
        """Whether axes are read, or noise and the speed of the machine are measured."""
        return self._file_axes.is_reading or self._surveys.is_measuring

    def _refresh_choices(self) -> None:
        self._choose(self.layer_choice.value)

    def _follow_selection(self) -> None:
        self._choose(None)

    def _choose(self, wanted: Any) -> None:
        """Update the list of layers; choose the wanted or the selected one, unless busy."""
        before = self.layer_choice.value
        self._choice.preview = None if self.run is None else self.run.result
        self._choice.refresh()
        if self.run is None:
            self._choice.choose(wanted)
        elif before in self._choice.images():
            # Renamed, it has left the list.
            self.layer_choice.value = before
        self._describe()

    def _listen(self, layer: Any) -> None:
        """Describe the chosen layer again when its pixels or axis labels are replaced."""
        if layer == self._listened:
            return

        # A function and not a method: napari cannot disconnect the methods of a deleted widget.
        def replaced(_: Any) -> None:
            self._describe()

        for signal, callback in self._of_layer:
            signal.disconnect(callback)
        self._listened = layer
        signals = () if layer is None else (layer.events.data, layer.events.axis_labels)
        self._of_layer = [(signal, replaced) for signal in signals]
        for signal, callback in self._of_layer:
            signal.connect(callback)

    def _describe(self, _: Any = None) -> None:
        """Summarise the next run, or say why none is possible."""
        trained = "" if self.options.model.model is None else self.options.model.name
        self._batch.show_available(A_RUN if self.run is not None else "", trained)
        if self.run is not None:
            if self.noise.is_waiting:
                # The measurement ended during the run.
                self._show_noise(self.run.layer, self.run.job.source, self.run.denoiser)
            return
        layer = self.layer_choice.value
        self._listen(layer)
        self.layer_followed.emit(layer)
        self.button.setEnabled(False)
        self._offer_instant(NOT_POSSIBLE)
        self.plan.setToolTip("")
        if self._batch.is_running:
            self.plan.setText(A_BATCH)
            return
        if layer is None:
            self.axes.show_none()
            self.noise.say(NO_LAYER)
            self.plan.setText(NO_IMAGE)
            return
        self._file_axes.begin(list(dict.fromkeys([layer, *self._choice.selected()])))
        self._offer(layer)
        try:
            source, target = read(layer), target_of(self.options)
            denoiser = model_of(self.options, self.config)
            check(denoiser, source, target)
        except RedenoiseError as error:
            if self.options.model.model is None:
                # What a trained network does not need may be the reason.
                self.options.enable()
            # The error may come from the axes, which can be corrected.
            axes = known_axes(layer) or read_axes(layer)
            if axes is None:
                self.axes.show_none()
            else:
                self.axes.show_axes(layer, axes)
            self._refuse(str(error))
            self._offer_instant_alone(layer)
            return
        self.axes.show_axes(layer, source.axes)
        self._explain_options(source, denoiser)
        self._show_noise(layer, source, denoiser)
        self._show_plan(layer, source, denoiser)
        if layer.ndim > 2 and origin_of_axes(layer) == "guess":
            self.plan.setText(f"{self.plan.text()} {CHECK_AXES}")
        if self.options.model.model is not None:
            self.button.setEnabled(True)
            self._offer_instant(NETWORK_CHOSEN)
            return
        kinds = self._kind(source), image_kind(layer, source)
        refusal = self._surveys.of(*kinds).refusal
        if refusal:
            self._refuse(refusal)
            return
        self.button.setEnabled(True)
        self._show_instant(source, denoiser)
        if not self._file_axes.is_reading:
            limit = self.options.value().seconds
            self._surveys.begin(*kinds, denoiser, source, target, limit)

    def _on_batch(self) -> None:
        """Follow the begin and the end of a batch."""
        for part in (self.axes, self.options):
            part.setEnabled(not self._batch.is_running)
        self._describe()

    def _batch_options(self) -> RunOptions:
        """The options that hold for a batch."""
        chosen, model = self.options.value(), self.options.model
        config = chosen.apply(self.options.objective.apply(self.config))
        return RunOptions(config, chosen.device, chosen.as_source, model.model, model.file)

    def _refuse(self, error: str) -> None:
        """Say why the layer cannot be denoised."""
        self.plan.setText(f"Cannot denoise this layer: {error}.")
        self.noise.say(NOT_MEASURED)

    def _offer(self, layer: Any) -> None:
        """Update the choices that depend on the layers."""
        regions = [o for o in self._viewer.layers if isinstance(o, Labels | Shapes)]
        self.options.offer(
            others=[other for other in self._choice.images() if other != layer],
            regions=regions,
            is_stack=layer.ndim - ("C" in (known_axes(layer) or "")) > 2,
        )

    def _offer_instant_alone(self, layer: Any) -> None:
        """Offer the pretrained network where only the options forbid a training."""
        if self.options.model.model is not None:
            return
        try:
            source = read(layer)
            denoiser = Redenoiser(instant_config(self.options, self.config))
            check(denoiser, source, None)
        except RedenoiseError:
            return
        self._show_instant(source, denoiser)

    def _show_instant(self, source: LayerImage, denoiser: Redenoiser) -> None:
        """Offer the pretrained network without training, and say how long it takes."""
        config = instant_config(self.options, self.config)
        reason = why_not_pretrained(config, source.channels)
        if reason:
            self._offer_instant(f"{reason[0].upper()}{reason[1:]}: press Denoise to train one.")
            return
        time = self._surveys.of(self._kind(source)).time
        tooltip, hint = summarise_instant(source, denoiser, time)
        self._offer_instant("", tooltip)
        self.plan.setText(f"{self.plan.text()} {hint}")

    def _offer_instant(self, reason: str, tooltip: str = "") -> None:
        set_available(self.instant_button, reason, tooltip)

    def _explain_options(self, source: LayerImage, denoiser: Redenoiser) -> None:
        self.options.explain(
            denoiser.config,
            channels=source.channels,
            is_colour=source.colour,
            is_integer=np.dtype(source.array.dtype).kind in "ui",
            has_neighbours=bool(source.planes.context_axes),
        )

    def _show_plan(self, layer: Any, source: LayerImage, denoiser: Redenoiser) -> None:
        """Summarise a run; the tooltip gives the reason for the objective."""
        kind, noise_kind = self._kind(source), image_kind(layer, source)
        caution = cautions(
            layer,
            self._surveys.reports(noise_kind),
            shows_planes=shows_planes(self._viewer),
            trains=self.options.model.model is None,
        )
        if self.options.model.model is not None:
            name = self.options.model.name
            self.plan.setText(f"{caution}{summarise_prediction(source, denoiser, name)}")
            return
        found = self._surveys.of(kind, noise_kind)
        plan, time = found.plan, found.time
        chosen = choose_objective(
            self.objective.kind,
            plan,
            self._surveys.reports(noise_kind),
            fine_tuning=is_fine_tuned(denoiser.config, source.channels),
        )
        limit = self.options.value().seconds
        is_known = limit is None or time is not None
        seconds = found.seconds if is_known else limit
        region = self.options.training_region.kind
        steps = None if time is None else time.steps
        if self.objective.kind == "noise2noise":
            chosen = chosen._replace(text=f"{chosen.text} with {self.objective.target_in_words}")
        said = summarise_training(
            source,
            denoiser,
            chosen,
            seconds,
            region,
            limit=limit,
            steps=steps,
            neighbours=neighbours_in_words(source, plan),
            is_left_out=plan is not None and plan.is_training_left_out,
        )
        self.plan.setText(f"{caution}{said}")
        self.plan.setToolTip(chosen.reason)

    def _show_noise(self, layer: Any, source: LayerImage, denoiser: Redenoiser) -> None:
        kind = image_kind(layer, source)
        reports = self._surveys.reports(kind)
        fine_tuning = is_fine_tuned(denoiser.config, source.channels)
        failure = self._surveys.error(kind)
        if reports is not None:
            self.noise.show_reports(reports, fine_tuning=fine_tuning)
        elif failure:
            self.noise.say(f"The noise cannot be measured ({failure}). The log has the details.")
        else:
            self.noise.say(NOT_MEASURABLE if self._surveys.is_known(kind) else MEASURING)

    def _kind(self, source: LayerImage) -> tuple[Any, ...]:
        shape, chosen = tuple(source.array.shape), self.options.value()
        return (source.axes, shape, self.objective.kind, chosen, self.config)

    def _instant_job(self, layer: Any) -> Job:
        """The job of a layer that the pretrained network denoises."""
        source = read(layer)
        reports = self._surveys.reports(image_kind(layer, source))
        return instant_job(source, self.options, self.config, reports)

    def _surveyed(self, layer: Any) -> Survey:
        """What is known of the run beforehand."""
        source = read(layer)
        return self._surveys.of(self._kind(source), image_kind(layer, source))
