"""Measure, diagnose, describe and simulate noise."""

from napari_redenoise.noise._between_planes import is_noise_shared
from napari_redenoise.noise._diagnosis import (
    Diagnosis,
    diagnose,
    noise_in_words,
    noise_model,
    sampling_noise,
)
from napari_redenoise.noise._estimate import estimate_noise, estimate_noise_from_repeats
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
from napari_redenoise.noise._smooth_noise import (
    bin_pixels,
    enlarge,
    has_smooth_noise,
    smooth_noise,
)
from napari_redenoise.noise._synthetic import poisson_gaussian
from napari_redenoise.noise._wording import (
    Finding,
    describe,
    few_photons_in_words,
    structure_in_words,
)

__all__ = [
    "Autocorrelation",
    "Diagnosis",
    "Finding",
    "NoiseModel",
    "NoiseReport",
    "Offsets",
    "ResidualNoise",
    "VariancePoint",
    "bin_pixels",
    "describe",
    "diagnose",
    "enlarge",
    "estimate_noise",
    "estimate_noise_from_repeats",
    "few_photons_in_words",
    "has_smooth_noise",
    "is_noise_shared",
    "line_offsets",
    "noise_in_words",
    "noise_model",
    "poisson_gaussian",
    "residual_noise",
    "sampling_noise",
    "smooth_noise",
    "structure_in_words",
    "without_noise",
]
