"""Self-supervised objectives: each turns noisy patches into an input, a target and a mask."""

from napari_redenoise.config import ObjectiveConfig
from napari_redenoise.objectives._blind import Noise2Self, Noise2Void
from napari_redenoise.objectives._sample import Objective, Sample, masked_mse

__all__ = ["Noise2Self", "Noise2Void", "Objective", "Sample", "build_objective", "masked_mse"]


def build_objective(config: ObjectiveConfig) -> Objective:
    """Make the objective that a configuration names."""
    if config.kind == "noise2void":
        return Noise2Void(config.masked_fraction, config.window)
    return Noise2Self(config.spacing)
