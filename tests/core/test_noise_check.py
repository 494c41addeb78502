import numpy as np
import pytest
from scipy import ndimage

from napari_redenoise import Config, Redenoiser
from napari_redenoise._noise_check import ChannelStack, noise_reports, recommendation, resolve
from napari_redenoise.config import NoiseConfig, ObjectiveConfig
from napari_redenoise.data import Planes
from napari_redenoise.errors import InputError
from napari_redenoise.noise import poisson_gaussian


@pytest.fixture(scope="module")
def photons() -> np.ndarray:
    """Expected photons, (128, 128): smooth, and dark in places."""
    picture = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(128, 128)), 8)
    picture = picture / picture.std()
    return 60.0 * np.maximum(picture + 0.5, 0.0)


def camera(photons: np.ndarray, gain: float = 3.0, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return poisson_gaussian(photons, rng, gain=gain, offset=100.0, read_noise=2.0)


def test_a_channel_is_read_as_a_stack_of_planes() -> None:
    array = np.arange(2 * 3 * 2 * 20 * 24, dtype=np.uint16).reshape(2, 3, 2, 20, 24)
    stack = ChannelStack(Planes(array, "TZCYX"), 1)
    assert stack.shape == (6, 20, 24)
    assert stack.dtype == np.uint16
    rows, columns = slice(2, 9), slice(4, 8)
    for number in range(6):
        expected = array[number // 3, number % 3, 1, rows, columns]
        np.testing.assert_array_equal(stack[number, rows, columns], expected)
    plane = ChannelStack(Planes(array[0, 0, 0], "YX"), 0)
    np.testing.assert_array_equal(plane[0, rows, columns], array[0, 0, 0, rows, columns])


def test_r2r_takes_the_noise_that_is_measured(photons: np.ndarray) -> None:
    objective = resolve(ObjectiveConfig(kind="r2r"), Planes(camera(photons), "YX"))
    (gain,) = objective.noise.gain
    assert gain == pytest.approx(3.0, rel=0.15)
    assert objective.noise.offset == pytest.approx((100.0,), abs=6)


def test_every_channel_has_noise_of_its_own(photons: np.ndarray) -> None:
    image = np.stack([camera(photons, 3.0), camera(photons, 10.0, seed=1)])
    objective = resolve(ObjectiveConfig(kind="r2r"), Planes(image, "CYX"))
    assert objective.noise.gain == pytest.approx((3.0, 10.0), rel=0.2)


def test_photon_noise_is_never_taken_for_gaussian_by_default(tiny: Config, photons) -> None:
    """The fit writes what it has measured, so the model says what it was trained with."""
    model = Redenoiser(tiny.changed(**{"objective.kind": "r2r"}), "cpu").fit(camera(photons))
    assert model.config.objective.noise.gain[0] == pytest.approx(3.0, rel=0.15)
    assert model.provenance["config"]["objective"]["noise"]["gain"][0] > 2


def test_noise_that_is_given_is_kept(photons: np.ndarray) -> None:
    given = ObjectiveConfig(kind="r2r", noise=NoiseConfig(gain=(7.0,)))
    assert resolve(given, Planes(camera(photons), "YX")) == given


def test_r2r_on_an_image_without_noise_is_refused_in_words() -> None:
    y, x = np.mgrid[:64, :64].astype(float)
    with pytest.raises(InputError, match="no noise was found"):
        resolve(ObjectiveConfig(kind="r2r"), Planes(y + 2 * x, "YX"))


def test_r2r_never_guesses_that_noise_is_gaussian() -> None:
    even = np.random.default_rng(0).poisson(20.0, (64, 64))
    with pytest.raises(InputError, match=r"cannot be told.*noise2self"):
        resolve(ObjectiveConfig(kind="r2r"), Planes(even, "YX"))


def test_auto_takes_noise2self_for_white_noise(photons: np.ndarray) -> None:
    objective = resolve(ObjectiveConfig(kind="auto"), Planes(camera(photons), "YX"))
    assert objective == ObjectiveConfig(kind="noise2self")


@pytest.mark.parametrize("axis", [0, 1])
def test_auto_hides_as_much_as_the_noise_is_correlated(photons, axis: int) -> None:
    white = np.random.default_rng(2).normal(size=photons.shape)
    noisy = photons + 20 * ndimage.uniform_filter1d(white, 2, axis=axis, mode="wrap")
    objective = resolve(ObjectiveConfig(kind="auto"), Planes(noisy, "YX"))
    assert objective.kind == "noise2void"
    shape = np.array([list(row) for row in objective.mask_shape])
    assert shape.shape[axis] >= 3
    assert shape.shape[1 - axis] == 1


def test_the_channel_with_the_largest_blind_spot_decides(photons: np.ndarray) -> None:
    white = np.random.default_rng(2).normal(size=photons.shape)
    smeared = photons + 20 * ndimage.uniform_filter1d(white, 2, axis=1, mode="wrap")
    for order in ((0, 1), (1, 0)):
        channels = np.stack([camera(photons), smeared])[list(order)]
        advice = recommendation(noise_reports(Planes(channels, "CYX")))
        assert advice.objective == "noise2void"


def test_auto_trains_what_it_has_chosen(tiny: Config, photons) -> None:
    model = Redenoiser(tiny.changed(**{"objective.kind": "auto"}), "cpu").fit(camera(photons))
    assert model.config.objective.kind == "noise2self"
    assert len(model.noise(camera(photons))) == 1
