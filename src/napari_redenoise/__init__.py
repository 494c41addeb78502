"""Self-supervised, rotation-equivariant image denoising for napari.

Importing this package loads neither torch nor napari nor Qt: public names are imported on first
use.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from napari_redenoise.assessment import EquivarianceResult, QualityReport, assess, equivariance
    from napari_redenoise.config import Config, FolderConfig
    from napari_redenoise.errors import RedenoiseError
    from napari_redenoise.model import (
        Event,
        Redenoiser,
        Result,
        TrainingPlan,
        denoise,
        measure_noise,
    )
    from napari_redenoise.recipes import FolderTraining

    __version__: str

# OpenMP threads wait by spinning, which slows down other programs and the threads that they wait
# for. The variable is read once, when torch is loaded.
if "torch" not in sys.modules:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")

__all__ = [
    "Config",
    "EquivarianceResult",
    "Event",
    "FolderConfig",
    "FolderTraining",
    "QualityReport",
    "RedenoiseError",
    "Redenoiser",
    "Result",
    "TrainingPlan",
    "__version__",
    "assess",
    "denoise",
    "equivariance",
    "measure_noise",
]

_LAZY = {
    "Config": "config",
    "EquivarianceResult": "assessment",
    "Event": "model",
    "FolderConfig": "config",
    "FolderTraining": "recipes",
    "RedenoiseError": "errors",
    "Redenoiser": "model",
    "Result": "model",
    "TrainingPlan": "model",
    "QualityReport": "assessment",
    "assess": "assessment",
    "denoise": "model",
    "equivariance": "assessment",
    "measure_noise": "model",
}


def _version() -> str:
    """Version of the installed package."""
    # Not at the top, because it takes longer to load than everything else here.
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("napari-redenoise")
    except PackageNotFoundError:  # a source tree that is not installed
        return "0+unknown"


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
