"""Self-supervised objectives: each converts noisy patches to an input, a target and a mask."""

from typing import assert_never

from napari_redenoise.config import ObjectiveConfig, TrainedObjective
from napari_redenoise.errors import ConfigError
from napari_redenoise.objectives._blind_spot import Noise2Self, Noise2Void, neighbour_mean
from napari_redenoise.objectives._noisy_pairs import Neighbor2Neighbor, Noise2Noise, Supervised
from napari_redenoise.objectives._recorruption import R2R, PatchNoise
from napari_redenoise.objectives._sample import Objective, Sample, masked_loss

__all__ = [
    "OBJECTIVE_NAMES",
    "R2R",
    "Neighbor2Neighbor",
    "Noise2Noise",
    "Noise2Self",
    "Noise2Void",
    "Objective",
    "PatchNoise",
    "Sample",
    "Supervised",
    "build_objective",
    "masked_loss",
    "neighbour_mean",
]


OBJECTIVE_NAMES: dict[TrainedObjective, tuple[str, str]] = {
    "noise2self": ("Noise2Self", "N2S"),
    "noise2void": ("Noise2Void", "N2V"),
    "noise2noise": ("Noise2Noise", "N2N"),
    "r2r": ("R2R", "R2R"),
    "neighbor2neighbor": ("Neighbor2Neighbor", "Ne2Ne"),
}
"""Name and abbreviation of every objective, as users read them."""


def build_objective(config: ObjectiveConfig, noise: PatchNoise | None = None) -> Objective:
    """Make the objective that a configuration names.

    Parameters
    ----------
    config : ObjectiveConfig
    noise : PatchNoise, optional
        The configured noise in the units of the patches, which R2R needs.

    Raises
    ------
    ConfigError
        When R2R has no noise.
    """
    match config.kind:
        case "noise2void":
            return Noise2Void(
                config.masked_fraction, config.window, config.replacement, config.mask_shape
            )
        case "noise2noise":
            return Noise2Noise()
        case "neighbor2neighbor":
            return Neighbor2Neighbor(config.regularisation)
        case "r2r":
            if noise is None:
                raise ConfigError("R2R has no noise to draw: give gain, offset and read noise")
            return R2R(noise, config.recorruption)
        case "noise2self" | "auto":
            return Noise2Self(config.spacing)
    assert_never(config.kind)
