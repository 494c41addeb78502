"""Metrics that compare an image with a reference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from skimage.metrics import structural_similarity

Image = npt.NDArray[np.generic]


def psnr(image: Image, reference: Image, data_range: float) -> float:
    """Peak signal-to-noise ratio in dB: ``20 log10(data_range) - 10 log10(MSE)``.

    Parameters
    ----------
    image, reference : arrays
        Of one shape and one grey scale.
    data_range : float
        Full scale in grey levels.

    Returns
    -------
    float
        In dB.
    """
    error = np.asarray(image, np.float64) - np.asarray(reference, np.float64)
    return float(20 * np.log10(data_range) - 10 * np.log10(np.mean(error**2)))


def ssim(image: Image, reference: Image, data_range: float) -> float:
    """Structural similarity (Wang et al. 2004) with a Gaussian window of sigma 1.5 pixels.

    Parameters
    ----------
    image, reference : arrays of shape (rows, columns)
        Of one grey scale.
    data_range : float
        Full scale in grey levels.

    Returns
    -------
    float
        At most 1, for equal images.
    """
    x, y = (np.asarray(a, np.float64) for a in (image, reference))
    return float(
        structural_similarity(
            x, y, data_range=data_range, gaussian_weights=True, use_sample_covariance=False
        )
    )
