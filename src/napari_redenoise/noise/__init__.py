"""All of noise: what it is, what that means for a training, and how it is made."""

from napari_redenoise.noise._diagnosis import Diagnosis, diagnose
from napari_redenoise.noise._estimate import (
    estimate_noise,
    estimate_noise_from_repeats,
    noise_autocorrelation,
)
from napari_redenoise.noise._line_offsets import Offsets, line_offsets
from napari_redenoise.noise._report import (
    Autocorrelation,
    NoiseModel,
    NoiseReport,
    ResidualNoise,
    VariancePoint,
    without_noise,
)
from napari_redenoise.noise._residual import residual_noise
from napari_redenoise.noise._sampling import noise_in_words, noise_model, sampling_noise
from napari_redenoise.noise._synthetic import gaussian, poisson_gaussian
from napari_redenoise.noise._wording import Finding, describe, structure_in_words

__all__ = [
    "Autocorrelation",
    "Diagnosis",
    "Finding",
    "NoiseModel",
    "NoiseReport",
    "Offsets",
    "ResidualNoise",
    "VariancePoint",
    "describe",
    "diagnose",
    "estimate_noise",
    "estimate_noise_from_repeats",
    "gaussian",
    "line_offsets",
    "noise_autocorrelation",
    "noise_in_words",
    "noise_model",
    "poisson_gaussian",
    "residual_noise",
    "sampling_noise",
    "structure_in_words",
    "without_noise",
]
