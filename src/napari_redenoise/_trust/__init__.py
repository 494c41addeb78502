"""What speaks for and against a denoised image, without the truth."""

from napari_redenoise._trust._assess import TrustReport, assess
from napari_redenoise._trust._checks import Mark, TrustCheck

__all__ = ["Mark", "TrustCheck", "TrustReport", "assess"]
