"""Training of the warm start, resumable at any step."""

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
from napari_redenoise.nn import DenoisingNetwork, SingleBranch
from napari_redenoise.objectives import Sample
from napari_redenoise.recipes._checkpoint_file import load_checkpoint, save_checkpoint
from napari_redenoise.recipes._prefetch import prefetch
from napari_redenoise.recipes.pretraining._clean_scenes import CleanScenes
from napari_redenoise.recipes.pretraining._photographs import LICENCES
from napari_redenoise.recipes.pretraining._recipe import SIDE, gain_loss, make_batch
from napari_redenoise.training import StepDone, start, train


@dataclass(frozen=True)
class Recipe:
    """What the weights follow from, beside the configuration.

    Attributes
    ----------
    scenes : int
        Clean scenes at most; the training begins with `FIRST` of them.
    pictures : float
        Share of them that are cut from pictures of scikit-image.
    examples_per_scene : int
        How many examples are made for each new scene; it stays among the scenes drawn from.
    kept_share : float
        Share of the weights that the training began with in those that are written: a short
        training on few examples mends one thing and wears off others.
    flips : bool
        Whether patches are mirrored and turned.
    """

    scenes: int = 100_000
    pictures: float = 0.3
    examples_per_scene: int = 8
    kept_share: float = 0.0
    flips: bool = True


FIRST = 512
"""Scenes that are there before the first step."""


class Pretraining:
    """Trains a network on synthetic noise over clean scenes.

    Parameters
    ----------
    config : Config
        Network and training; its objective is not used.
    recipe : Recipe
    device : str, optional
    """

    def __init__(self, config: Config, recipe: Recipe, device: str | None = None) -> None:
        self.device = get_device(device)
        self.config, self.recipe = config, recipe
        self.state = start(config, self.device)
        self._began_with: dict[str, Any] = {}
        self._beginning: dict[str, Tensor] | None = None

    def check(self) -> None:
        """Refuse a recipe that cannot be followed.

        Raises
        ------
        ConfigError
            When a share of weights is to be kept and there are none.
        """
        if self.recipe.kept_share and self._beginning is None:
            raise ConfigError(
                "there is nothing to keep a share of: begin with a model of the same network, or "
                "leave the share out"
            )

    @property
    def settings(self) -> str:
        """What determines the weights, as JSON."""
        config = self.config.model_dump(mode="json")
        # Noise is drawn on the device, and differs from that of another.
        where = {"device": self.device.type}
        return json.dumps({"config": config, **asdict(self.recipe), **self._began_with, **where})

    def begin_with(self, path: str | Path) -> None:
        """Take weights of the same network, or of its equivariant branch, trained before.

        Raises
        ------
        ConfigError
            When the file holds neither.
        """
        before, config, _, provenance, _ = load_model(path)
        wanted = self.config.network
        alone = wanted.model_copy(update={"kind": "equivariant"})
        if config.network == wanted:
            found, weights = "network", before.state_dict()
        elif (
            wanted.kind == "adarenet"
            and config.network == alone
            and isinstance(before, SingleBranch)
        ):
            found, weights = "branch", before.branch.state_dict()
        else:
            raise ConfigError(
                f"{path} holds neither the network to train nor its equivariant branch: give a "
                "model that was pretrained with the same group"
            )
        if found == "network":
            self._beginning = weights
        for network in (self.state.network, self.state.average):
            part = network if found == "network" else getattr(network, "equivariant_branch", None)
            if part is not None:
                part.load_state_dict(weights)
        past = {name: provenance.get(name) for name in ("config", "recipe", "steps", "torch")}
        self._began_with = {"began_with": {"part": found, **past}}

    def resume(self, path: str | Path) -> None:
        """Go on from a state that `save_checkpoint` wrote."""
        load_checkpoint(path, self.state, self.settings)

    def save_checkpoint(self, path: str | Path) -> Path:
        """Write all that `resume` needs."""
        return save_checkpoint(path, self.state, self.settings)

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the averaged network as a model file, with recipe and licences in its header.

        Weights are stored in half precision: it has to fit into the package.
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
        """The averaged network, with the share of the beginning that is kept."""
        if self._beginning is None or not self.recipe.kept_share:
            return self.state.average
        network = copy.deepcopy(self.state.average)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.lerp_(self._beginning[name].to(parameter), self.recipe.kept_share)
        return network

    def events(self) -> Iterator[StepDone]:
        """Train from where the state is to the last step."""
        training = self.config.training
        dtype = training_dtype(self.device, training.precision)
        yield from train(self.state, self._batches(), _as_it_is, training, dtype, gain_loss)

    def _batches(self) -> Iterator[Sample]:
        """Batches numbered by step, of scenes that are drawn beside the training."""
        training, recipe = self.config.training, self.recipe
        needed = (
            FIRST + training.total_steps * training.patches_per_step // recipe.examples_per_scene
        )
        lights = CleanScenes(
            min(recipe.scenes, needed), SIDE, recipe.pictures, training.seed, self.device
        )

        def make(step: int) -> Sample:
            return make_batch(
                lights.first(FIRST + step * training.patches_per_step // recipe.examples_per_scene),
                np.random.default_rng([training.seed, step]),
                batch_size=training.patches_per_step,
                patch=training.patch_side,
                flips=recipe.flips,
            )

        steps = itertools.count(self.state.step)
        try:
            if self.device.type == "cpu":
                # Not in a thread: two teams of torch's threads in one process delay each other.
                yield from map(make, steps)
            else:
                yield from prefetch(make, steps, workers=1)
        finally:
            lights.close()

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


def _as_it_is(sample: Sample, generator: torch.Generator) -> Sample:
    return sample
