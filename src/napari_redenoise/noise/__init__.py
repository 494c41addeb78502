"""What the noise is."""

from napari_redenoise.noise._diagnosis import (
    Recommendation,
    blind_spot,
    can_be_drawn,
    correlation_reach,
    correlation_without_lines,
    drawn_from,
    has_unknown_structure,
    is_clean,
    is_independent,
    is_known,
    lines_of,
    recommend,
    removes_more,
)
from napari_redenoise.noise._estimate import (
    estimate_noise,
    estimate_noise_from_repeats,
    noise_autocorrelation,
)
from napari_redenoise.noise._report import (
    Autocorrelation,
    NoiseModel,
    NoiseReport,
    Removed,
    VariancePoint,
    without_noise,
)
from napari_redenoise.noise._residual import noise_of_removed, square_blocks
from napari_redenoise.noise._shim import (
    Diagnosis,
    diagnose,
    noise_in_words,
    recommendation,
    sampling_noise,
)
from napari_redenoise.noise._synthetic import gaussian, poisson_gaussian
from napari_redenoise.noise._wording import Finding, describe, structure_in_words

__all__ = [
    "Autocorrelation",
    "Diagnosis",
    "Finding",
    "NoiseModel",
    "NoiseReport",
    "Recommendation",
    "Removed",
    "VariancePoint",
    "blind_spot",
    "can_be_drawn",
    "correlation_reach",
    "correlation_without_lines",
    "describe",
    "diagnose",
    "drawn_from",
    "estimate_noise",
    "estimate_noise_from_repeats",
    "gaussian",
    "has_unknown_structure",
    "is_clean",
    "is_independent",
    "is_known",
    "lines_of",
    "noise_autocorrelation",
    "noise_in_words",
    "noise_of_removed",
    "poisson_gaussian",
    "recommend",
    "recommendation",
    "removes_more",
    "sampling_noise",
    "square_blocks",
    "structure_in_words",
    "without_noise",
]
