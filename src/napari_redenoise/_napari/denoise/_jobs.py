"""Jobs from the choices in the dock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from napari_redenoise._napari._layers import LayerImage, axes_in_words, read_layer
from napari_redenoise._napari._view import current_window
from napari_redenoise._napari.batch._choices import Training, without_training
from napari_redenoise._napari.denoise._run import Job
from napari_redenoise._napari.denoise._survey import Survey
from napari_redenoise._napari.denoise._training_region import Region, one_sample, region_of
from napari_redenoise._napari.denoise.panels._axes import known_axes
from napari_redenoise._napari.denoise.panels._options import OptionsForm
from napari_redenoise.config import Config, TrainingConfig
from napari_redenoise.data import LazyArray
from napari_redenoise.devices import get_device
from napari_redenoise.errors import InputError
from napari_redenoise.model import Redenoiser, TrainingImages
from napari_redenoise.noise import NoiseReport


def read(layer: Any) -> LayerImage:
    """Read a layer, with the axes that the user chose.

    Raises
    ------
    InputError
        When the layer cannot be denoised.
    """
    return read_layer(layer, known_axes(layer))


def model_of(options: OptionsForm, config: Config) -> Redenoiser:
    """The chosen trained model, or a new one with the chosen options.

    Raises
    ------
    RedenoiseError
        When the chosen device is not available.
    """
    chosen = options.value()
    configured = chosen.apply(options.objective.apply(config))
    return options.model.model or Redenoiser(configured, chosen.device)


def instant_config(options: OptionsForm, config: Config) -> Config:
    """The pretrained network without training, with the chosen preset, symmetry and neighbours.

    Test-time augmentation takes as long as the prediction itself, for 0.03 to 0.06 dB. float32
    takes twice as long as bfloat16 where a processor computes that, for 0.001 dB.
    """
    chosen = options.value().apply(config)
    fast = {"tiling.tta": bool(chosen.tiling.tta), "tiling.precision": "auto"}
    instant = Config(network=chosen.network, training=TrainingConfig(steps=0), tiling=chosen.tiling)
    return instant.replace(fast)


def instant_job(
    source: LayerImage,
    options: OptionsForm,
    config: Config,
    reports: tuple[NoiseReport, ...] | None,
) -> Job:
    """Make the job of an image that the pretrained network denoises; ``reports`` if known.

    Raises
    ------
    RedenoiseError
        When the chosen device is not available.
    """
    chosen = options.value()
    model = Redenoiser(instant_config(options, config), chosen.device)
    return Job(model, source, "instant", reports=reports, as_source=chosen.as_source)


def check(model: Redenoiser, source: LayerImage, target: LayerImage | None) -> None:
    """Refuse shapes that a run would refuse, without reading pixels.

    A trained model is not trained again.

    Raises
    ------
    RedenoiseError
        When the layers do not suit training or this objective.
    """
    if model.session.plan is not None:
        model.session.planes(source.array, source.axes)
        return
    other = None if target is None else target.array
    TrainingImages.of(source.array, source.axes, other).shots(model.config.objective)


def target_of(options: OptionsForm) -> LayerImage | None:
    """The layer with the second shot of Noise2Noise, or None."""
    other = options.objective.target_layer
    return None if other is None else read(other)


def make_job(
    viewer: Any,
    layer: Any,
    options: OptionsForm,
    config: Config,
    surveyed: Survey,
) -> Job:
    """Make the job of a layer.

    Raises
    ------
    RedenoiseError
        When a layer cannot be used.
    """
    source, as_source = read(layer), options.value().as_source
    model = _placed_model(options, config)
    if options.model.model is not None:
        return Job(model, source, "apply", as_source=as_source)
    target = target_of(options)
    check(model, source, target)
    region = _region(viewer, layer, source, options)
    return Job(
        model,
        source,
        # The plan was made for the whole image.
        plan=None if region is not None else surveyed.plan,
        target=target,
        region=region,
        seconds=options.value().seconds,
        time=surveyed.time,
        as_source=as_source,
    )


def read_all(layers: Sequence[Any]) -> tuple[dict[Any, LayerImage], dict[Any, InputError]]:
    """Read layers: those that can be denoised, and why others cannot.

    Raises
    ------
    InputError
        When none can be denoised.
    """
    sources, refused = {}, {}
    for layer in layers:
        try:
            sources[layer] = read(layer)
        except InputError as error:
            refused[layer] = error
    if refused and not sources:
        raise next(iter(refused.values()))
    return sources, refused


def layer_jobs(
    images: dict[Any, LayerImage], options: OptionsForm, config: Config, training: Training
) -> list[tuple[Any, Job]]:
    """Make the jobs of several layers, in the order in which they run.

    Parameters
    ----------
    images : dict
        By layer; the first one is trained on, where one network is trained on ``one``.
    options : OptionsForm
        Its training region and second shot have no effect.
    config : Config
    training : str
        As in `BatchChoices`.

    Raises
    ------
    RedenoiseError
        When a layer cannot be used, or one network cannot denoise all.
    """
    layers, sources = list(images), list(images.values())
    seconds, as_source = options.value().seconds, options.value().as_source
    if training == "none":
        without_training(options.value().apply(config))
        return [
            (layer, instant_job(source, options, config, None))
            for layer, source in zip(layers, sources, strict=True)
        ]
    if training == "each":
        jobs = [
            Job(model_of(options, config), source, seconds=seconds, as_source=as_source)
            for source in sources
        ]
        for job in jobs:
            check(job.denoiser, job.source, None)
        return list(zip(layers, jobs, strict=True))
    first, *others = sources
    _check_kind(first, others)
    model = _placed_model(options, config)
    if options.model.model is not None:
        begin = Job(model, first, "apply", as_source=as_source)
    else:
        check(model, first, None)
        learnt = tuple(others) if training == "all" else ()
        begin = Job(model, first, others=learnt, seconds=seconds, as_source=as_source)
    rest = [
        # A training that is continued from one of them has the same images.
        replace(
            begin,
            source=other,
            action="apply",
            others=tuple(one for one in sources if one is not other) if begin.others else (),
        )
        for other in others
    ]
    return list(zip(layers, [begin, *rest], strict=True))


def _placed_model(options: OptionsForm, config: Config) -> Redenoiser:
    """The model of `model_of`, a trained one on the chosen device."""
    model, device = model_of(options, config), options.value().device
    if options.model.model is not None and device is not None:
        model.device = get_device(device)
    return model


def _check_kind(source: LayerImage, others: Sequence[LayerImage]) -> None:
    """Refuse layers that one network cannot denoise."""
    for other in others:
        if (other.axes, other.channels) != (source.axes, source.channels):
            raise InputError(
                f"one network denoises layers of the same kind, but '{source.name}' is "
                f"{_kind(source)} and '{other.name}' is {_kind(other)}: select one of them"
            )


def _kind(source: LayerImage) -> str:
    """Axes and channels of a layer, in words."""
    if source.colour:
        return "in colour"
    channels = f" with {source.channels} channels" if source.channels > 1 else ""
    return f"of the axes {axes_in_words(source.axes)}{channels}"


def _uses(options: OptionsForm, kind: str) -> bool:
    return options.training_region.kind == kind


def _region(
    viewer: Any, layer: Any, source: LayerImage, options: OptionsForm
) -> Region | LazyArray | None:
    """The training region; None for the whole layer."""
    if _uses(options, "region"):
        return region_of(layer, source, options.training_region.region_layer)
    if not _uses(options, "slice"):
        return None
    window = current_window(viewer, layer, source)
    if window is None:
        raise InputError(
            "the viewer shows no plane of the layer: show its y and x in the 2-D view to "
            "train on a slice"
        )
    sizes = zip(source.axes, source.array.shape, strict=True)
    return one_sample(tuple(int(n) for axis, n in sizes if axis != "C"), window.sample)
