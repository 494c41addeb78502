import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from napari_redenoise.metrics import psnr, scale_invariant_psnr, ssim


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


def test_scale_invariant_psnr_is_the_best_over_gain_and_offset(pair) -> None:
    image, reference = (array.astype(np.float64) for array in pair)
    gain, offset = np.polyfit(image.ravel(), reference.ravel(), 1)
    best = peak_signal_noise_ratio(reference, gain * image + offset, data_range=255)
    assert scale_invariant_psnr(image, reference, 255) == pytest.approx(best)
    assert scale_invariant_psnr(0.1 * image - 70, reference, 255) == pytest.approx(best)
    assert best > psnr(image, reference, 255)


def test_scale_invariant_psnr_of_a_constant_is_that_of_the_mean(pair) -> None:
    reference = pair[1].astype(np.float64)
    expected = psnr(np.full_like(reference, reference.mean()), reference, 255)
    got = scale_invariant_psnr(np.full_like(reference, 3.0), reference, 255)
    assert got == pytest.approx(expected)
