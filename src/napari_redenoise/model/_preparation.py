"""What is settled before the first step: the objective, and the pixels that are learned from."""

from __future__ import annotations

from collections.abc import Callable

import torch

from napari_redenoise.config import Config, Lines
from napari_redenoise.data import Planes, Pool, load_pool, some_pixels
from napari_redenoise.inference import Interrupted
from napari_redenoise.model._line_correction import correct_lines
from napari_redenoise.model._material import Material
from napari_redenoise.model._objective_choice import resolved, with_lines

MOST_PIXELS = 2**20
"""That are learned from without offsets of lines, which take a few predictions to find."""


def prepared(
    config: Config,
    material: Material,
    pool: Pool,
    generator: torch.Generator,
    device: torch.device,
    should_stop: Callable[[], bool] | None,
) -> tuple[Config, Pool, bool]:
    """Settle what follows from the noise of an image, and learn from it without offsets of lines.

    Parameters
    ----------
    config : Config
    material : Material
    pool : Pool
        What would be learned from; it is where no lines have offsets.
    generator : torch.Generator
        Chooses what is read.
    device : torch.device
    should_stop : callable, optional
        Leaves the search for offsets; configuration and pool then stay as they are.

    Returns
    -------
    (Config, Pool, bool)
        The last tells whether the pretrained network knows the structure of the image, as far as
        that was looked at.

    Raises
    ------
    InputError, ConfigError
        As `resolve` does.
    """
    learns = config.training.total_steps > 0
    objective = config.objective
    straight: dict[Lines, Material] = {}

    def without(lines: Lines) -> Material:
        def change(planes: Planes) -> Planes:
            # Noise2Noise needs frames that follow each other.
            some = planes if objective.kind == "noise2noise" else some_pixels(planes, MOST_PIXELS)
            return correct_lines(some, lines, device, should_stop)

        if lines not in straight:
            straight[lines] = material.changed(change)
        return straight[lines]

    try:
        if not learns:
            objective = with_lines(objective, material.planes)
            return config.model_copy(update={"objective": objective}), pool, True
        objective, knows = resolved(
            objective,
            material.planes,
            adapting=config.training.start == "warm",
            without=lambda lines: without(lines).planes,
        )
        if objective.lines != "none":
            shots = without(objective.lines).shots(objective)
            pool = load_pool(shots, generator, pool.normalisation, should_stop=should_stop)
    except Interrupted:
        return config, pool, True
    return config.model_copy(update={"objective": objective}), pool, knows
