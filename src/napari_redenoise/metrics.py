"""Pure functions that compare images and describe residuals. Arrays in, floats out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from skimage.metrics import structural_similarity

Image = npt.NDArray[np.generic]


def psnr(image: Image, reference: Image, data_range: float) -> float:
    """Peak signal-to-noise ratio in dB: ``20 log10(data_range) - 10 log10(MSE)``.

    Parameters
    ----------
    image, reference : arrays of one shape, same grey scale
    data_range : float
        The span of grey levels that counts as full scale.
    """
    error = np.asarray(image, np.float64) - np.asarray(reference, np.float64)
    return float(20 * np.log10(data_range) - 10 * np.log10(np.mean(error**2)))


def scale_invariant_psnr(image: Image, reference: Image, data_range: float) -> float:
    """PSNR after the gain and offset that fit ``image`` to ``reference`` best (least squares)."""
    x, y = (np.asarray(a, np.float64).ravel() for a in (image, reference))
    variance = x.var()
    gain = 0.0 if variance == 0 else float(np.mean((x - x.mean()) * (y - y.mean())) / variance)
    return psnr(gain * (x - x.mean()) + y.mean(), y, data_range)


def ssim(image: Image, reference: Image, data_range: float) -> float:
    """Structural similarity (Wang et al. 2004: Gaussian window of 1.5 px), 2-D images."""
    x, y = (np.asarray(a, np.float64) for a in (image, reference))
    return float(
        structural_similarity(
            x, y, data_range=data_range, gaussian_weights=True, use_sample_covariance=False
        )
    )
