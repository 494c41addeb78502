"""Pretraining, resumable at any step."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import napari_redenoise
from napari_redenoise.config import Config
from napari_redenoise.data import Normalisation
from napari_redenoise.devices import get_device, training_dtype
from napari_redenoise.errors import ConfigError
from napari_redenoise.io import load_model, save_model
from napari_redenoise.nn import DenoisingNetwork, SingleBranch, with_context
from napari_redenoise.objectives import Sample
from napari_redenoise.recipes._checkpoint_file import load_checkpoint, save_checkpoint
from napari_redenoise.recipes._prefetch import prefetch
from napari_redenoise.recipes.pretraining._clean_scenes import CleanScenes
from napari_redenoise.recipes.pretraining._photographs import LICENCES
from napari_redenoise.recipes.pretraining._recipe import (
    SIDE,
    gain_loss,
    make_batch,
    make_stack_batch,
)
from napari_redenoise.training import StepDone, start, train


@dataclass(frozen=True)
class Recipe:
    """Settings of a pretraining besides the configuration.

    Attributes
    ----------
    scenes : int
        Largest number of clean scenes; the training starts with `FIRST` of them.
    photographs : float
        Share of scenes that are crops of photographs of scikit-image.
    examples_per_scene : int
        Examples made per new scene; older scenes remain in use.
    kept_share : float
        Share of the initial weights in the written ones. A short training on few examples
        improves some images and degrades others.
    flips : bool
        Whether patches are flipped and rotated; those of sequences always are.
    """

    scenes: int = 100_000
    photographs: float = 0.3
    examples_per_scene: int = 8
    kept_share: float = 0.0
    flips: bool = True


FIRST = 512
"""Scenes drawn before the first step."""


class Pretraining:
    """Trains a network on synthetic noise over clean scenes.

    Parameters
    ----------
    config : Config
        Its objective is not used.
    recipe : Recipe
    device : str, optional
    """

    def __init__(self, config: Config, recipe: Recipe, device: str | None = None) -> None:
        self.device = get_device(device)
        self.config, self.recipe = config, recipe
        self.state = start(config, self.device)
        self._began_with: dict[str, Any] = {}
        self._initial_weights: dict[str, Tensor] | None = None

    def check(self) -> None:
        """Check the recipe.

        Raises
        ------
        ConfigError
            When the recipe keeps a share of initial weights and there are none.
        """
        if self.recipe.kept_share and self._initial_weights is None:
            raise ConfigError(
                "the recipe keeps a share of initial weights and has none: begin with a model "
                "of the same network, or leave the share out"
            )

    @property
    def settings(self) -> str:
        """The settings that determine the weights, as JSON."""
        config = self.config.model_dump(mode="json")
        # Random numbers depend on the type of the device.
        where = {"device": self.device.type}
        return json.dumps({"config": config, **asdict(self.recipe), **self._began_with, **where})

    def begin_with(self, path: str | Path) -> None:
        """Start from a model of the same network, or of its equivariant branch.

        The model may see more or fewer neighbours.

        Raises
        ------
        ConfigError
            When the file holds another network.
        """
        before, config, _, provenance, _ = load_model(path)
        wanted = self.config.network
        alone = wanted.model_copy(update={"kind": "equivariant"})
        seeing_as_much = config.network.model_copy(update={"context": wanted.context})
        if seeing_as_much == wanted:
            found = "network"
            weights = with_context(before.state_dict(), config.network, wanted)
        elif (
            wanted.kind == "adarenet"
            and seeing_as_much == alone
            and config.network.neighbours == wanted.neighbours
            and isinstance(before, SingleBranch)
        ):
            found, weights = "branch", before.branch.state_dict()
        else:
            raise ConfigError(
                f"{path} holds neither the network to train nor its equivariant branch: give a "
                "model that was pretrained with the same group"
            )
        if found == "network":
            self._initial_weights = weights
        for network in (self.state.network, self.state.average):
            part = network if found == "network" else getattr(network, "equivariant_branch", None)
            if part is not None:
                part.load_state_dict(weights)
        past = {name: provenance.get(name) for name in ("config", "recipe", "steps", "torch")}
        self._began_with = {"began_with": {"part": found, **past}}

    def resume(self, path: str | Path) -> None:
        """Resume from a checkpoint of `save_checkpoint`."""
        load_checkpoint(path, self.state, self.settings)

    def save_checkpoint(self, path: str | Path) -> Path:
        """Write a checkpoint for `resume`."""
        return save_checkpoint(path, self.state, self.settings)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the averaged network as a model file, with recipe and licences in its header.

        Half precision keeps the file small enough for the package.
        """
        channels = self.config.network.channels
        unit = Normalisation((0.0,) * channels, (1.0,) * channels)
        return save_model(
            path,
            self._result(),
            self.config,
            unit,
            self._describe(),
            overwrite=overwrite,
            half=True,
        )

    def _result(self) -> DenoisingNetwork:
        """The averaged network, mixed with the kept share of the initial weights."""
        if self._initial_weights is None or not self.recipe.kept_share:
            return self.state.average
        network = copy.deepcopy(self.state.average)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.lerp_(self._initial_weights[name].to(parameter), self.recipe.kept_share)
        return network

    def events(self) -> Iterator[StepDone]:
        """Train from the current step to the last one."""
        training = self.config.training
        dtype = training_dtype(self.device, training.precision)
        yield from train(self.state, self._batches(), _unchanged, training, dtype, gain_loss)

    def _batches(self) -> Iterator[Sample]:
        """Batches by step, from scenes that are drawn in parallel."""
        training, recipe = self.config.training, self.recipe
        examples = training.total_steps * training.patches_per_step
        needed = FIRST + examples // recipe.examples_per_scene
        scenes = CleanScenes(
            min(recipe.scenes, needed), SIDE, recipe.photographs, training.seed, self.device
        )

        count, patch = training.patches_per_step, training.patch_side
        reach = self.config.network.neighbours // 2

        def make(step: int) -> Sample:
            lights = scenes.first(FIRST + step * count // recipe.examples_per_scene)
            rng = np.random.default_rng([training.seed, step])
            if reach:
                return make_stack_batch(lights, rng, batch_size=count, patch=patch, context=reach)
            return make_batch(lights, rng, batch_size=count, patch=patch, flips=recipe.flips)

        steps = itertools.count(self.state.step)
        try:
            if self.device.type == "cpu":
                # Not in a thread, since two thread pools of torch slow each other down.
                yield from map(make, steps)
            else:
                yield from prefetch(make, steps, workers=1)
        finally:
            scenes.close()

    def _describe(self) -> dict[str, Any]:
        return {
            "version": napari_redenoise.__version__,
            "config": self.config.model_dump(mode="json"),
            "recipe": asdict(self.recipe),
            **self._began_with,
            "pictures": {f"scikit-image {name}": said for name, said in LICENCES.items()},
            "steps": self.state.step,
            "torch": torch.__version__,
        }


def _unchanged(sample: Sample, generator: torch.Generator) -> Sample:
    return sample
