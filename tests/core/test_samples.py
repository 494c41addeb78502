import numpy as np
import pytest

from napari_redenoise import _sample_data
from napari_redenoise.noise import poisson_gaussian


@pytest.mark.parametrize("sample", [_sample_data.noisy_cells, _sample_data.noisy_time_series])
def test_a_sample_is_its_ground_truth_with_camera_noise(sample):
    (truth, _, _), (noisy, _, kind) = sample()
    camera = _sample_data.CAMERA
    assert kind == "image"
    assert noisy.dtype == np.uint16
    expected = truth.astype(float)
    unclipped = expected > camera["offset"] + 5 * camera["read_noise"]
    variance = camera["gain"] * (expected - camera["offset"]) + camera["read_noise"] ** 2
    residual = (noisy - expected)[unclipped] / np.sqrt(variance[unclipped])
    assert abs(residual.mean()) < 0.02
    assert residual.std() == pytest.approx(1.0, abs=0.02)


def test_samples_are_the_same_every_time():
    np.testing.assert_array_equal(
        _sample_data.noisy_cells()[1][0], _sample_data.noisy_cells()[1][0]
    )


def test_camera_noise_has_the_variance_of_its_formula():
    rng = np.random.default_rng(0)
    for photons in (0.5, 4.0, 100.0):
        noisy = poisson_gaussian(
            np.full((400, 400), photons), rng, gain=3.0, offset=50.0, read_noise=2.0
        )
        assert noisy.mean() == pytest.approx(3.0 * photons + 50.0, rel=0.01)
        assert noisy.var() == pytest.approx(9.0 * photons + 4.0, rel=0.02)
