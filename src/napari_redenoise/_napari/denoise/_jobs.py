"""From what is chosen in the dock to what a run does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari_redenoise._napari._layers import LayerImage, read_layer
from napari_redenoise._napari._view import current_window
from napari_redenoise._napari.denoise._run import Job
from napari_redenoise._napari.denoise._training_region import Region, one_sample, region_of
from napari_redenoise._napari.denoise.panels._axes import axes_said
from napari_redenoise._napari.denoise.panels._options import OptionsForm
from napari_redenoise.config import Config
from napari_redenoise.data import LazyArray
from napari_redenoise.devices import get_device
from napari_redenoise.errors import InputError
from napari_redenoise.model import Material, Redenoiser, TrainingPlan


def read(layer: Any) -> LayerImage:
    """A layer as plain values, its axes as the user has said.

    Raises
    ------
    InputError
        When the layer cannot be denoised.
    """
    return read_layer(layer, axes_said(layer))


def model_of(options: OptionsForm, config: Config) -> Redenoiser:
    """The trained model that is chosen, or a new one as it is configured.

    Raises
    ------
    RedenoiseError
        When the chosen device is gone.
    """
    chosen = options.value()
    configured = chosen.apply(options.objective.apply(config))
    return options.model.model or Redenoiser(configured, chosen.device)


def check(model: Redenoiser, source: LayerImage, target: LayerImage | None) -> None:
    """Refuse at once, without reading a pixel, what a run would refuse for its shape.

    Raises
    ------
    RedenoiseError
        When the layers cannot be trained on, or not with this objective.
    """
    other = None if target is None else target.array
    Material.of(source.array, source.axes, other).shots(model.config.objective)


def target_of(options: OptionsForm) -> LayerImage | None:
    """The target of Noise2Noise, if a layer holds one."""
    other = options.objective.target_layer
    return None if other is None else read(other)


def make_job(
    viewer: Any,
    layer: Any,
    options: OptionsForm,
    config: Config,
    selected: Sequence[Any],
    plan: TrainingPlan | None = None,
) -> Job:
    """What a press runs on a layer; ``selected`` are the others that are selected with it.

    Raises
    ------
    RedenoiseError
        When one of the layers cannot be used.
    """
    source, as_source = read(layer), options.value().as_source
    model = model_of(options, config)
    if options.model.model is not None and options.value().device is not None:
        model.device = get_device(options.value().device)
    others = tuple(read(other) for other in selected) if _uses(options, "selected") else ()
    if options.model.model is not None:
        return Job(model, source, "apply", others=others, as_source=as_source)
    region = _region(viewer, layer, source, options)
    return Job(
        model,
        source,
        # The one that was made before is of the whole image.
        plan=None if region is not None else plan,
        target=target_of(options),
        others=others,
        region=region,
        seconds=options.value().seconds,
        as_source=as_source,
    )


def _uses(options: OptionsForm, kind: str) -> bool:
    return options.training_region.kind == kind


def _region(
    viewer: Any, layer: Any, source: LayerImage, options: OptionsForm
) -> Region | LazyArray | None:
    """Where to train; None for everywhere."""
    if _uses(options, "region"):
        return region_of(layer, source, options.training_region.region_layer)
    if not _uses(options, "slice"):
        return None
    window = current_window(viewer, layer, source)
    if window is None:
        raise InputError("a volume is shown: switch to the 2-D view to choose a slice")
    sizes = zip(source.axes, source.array.shape, strict=True)
    return one_sample(tuple(int(n) for axis, n in sizes if axis != "C"), window.sample)
