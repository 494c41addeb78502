"""Quality checks of a denoised image without a reference."""

from napari_redenoise.assessment._checks import Mark, QualityCheck, in_pixels
from napari_redenoise.assessment._equivariance import (
    EquivarianceResult,
    equivariance,
    percent,
)
from napari_redenoise.assessment._file_checks import assess_file, file_checks
from napari_redenoise.assessment._report import QualityReport, assess
from napari_redenoise.assessment._resolution import (
    Band,
    Denoiser,
    Noise,
    Resolution,
    map_unsupported_detail,
    measure_resolution,
    measure_response,
)
from napari_redenoise.assessment._support import (
    as_denoiser,
    central_window,
    pixel_size_of,
    support_map,
)

__all__ = [
    "Band",
    "Denoiser",
    "EquivarianceResult",
    "Mark",
    "Noise",
    "QualityCheck",
    "QualityReport",
    "Resolution",
    "as_denoiser",
    "assess",
    "assess_file",
    "central_window",
    "equivariance",
    "file_checks",
    "in_pixels",
    "map_unsupported_detail",
    "measure_resolution",
    "measure_response",
    "percent",
    "pixel_size_of",
    "support_map",
]
