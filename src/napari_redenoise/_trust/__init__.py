"""What speaks for and against a denoised image, without the truth."""

from napari_redenoise._trust._assess import TrustReport, assess
from napari_redenoise._trust._checks import Mark, TrustCheck, in_pixels
from napari_redenoise._trust._resolution import (
    Band,
    Denoiser,
    Fields,
    Noise,
    Resolution,
    resolution_of,
    respond,
    unsupported_detail,
)
from napari_redenoise._trust._support import (
    PixelSize,
    as_denoiser,
    middle_of,
    pixel_size_of,
    support_map,
)

__all__ = [
    "Band",
    "Denoiser",
    "Fields",
    "Mark",
    "Noise",
    "PixelSize",
    "Resolution",
    "TrustCheck",
    "TrustReport",
    "as_denoiser",
    "assess",
    "in_pixels",
    "middle_of",
    "pixel_size_of",
    "resolution_of",
    "respond",
    "support_map",
    "unsupported_detail",
]
