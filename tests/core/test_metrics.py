import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from napari_redenoise.metrics import psnr, ssim


@pytest.fixture(params=[np.uint8, np.uint16, np.float32])
def pair(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """Two similar images of one dtype; differences of the integers would wrap around."""
    random = np.random.default_rng(0)
    reference = random.integers(5, 250, (48, 40))
    image = np.clip(reference + random.integers(-5, 6, reference.shape), 0, 255)
    return image.astype(request.param), reference.astype(request.param)


def test_psnr_is_that_of_scikit_image(pair) -> None:
    image, reference = pair
    expected = peak_signal_noise_ratio(reference, image, data_range=255)
    assert psnr(image, reference, 255) == pytest.approx(expected, rel=1e-6)


def test_ssim_is_that_of_scikit_image_in_wangs_setting(pair) -> None:
    image, reference = (array.astype(np.float64) for array in pair)
    expected = structural_similarity(
        reference,
        image,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(*pair, 255) == pytest.approx(expected, rel=1e-9)
    assert ssim(reference, reference, 255) == pytest.approx(1)
