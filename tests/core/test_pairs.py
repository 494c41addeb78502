import numpy as np
import pytest
import torch

from napari_redenoise import Redenoiser
from napari_redenoise.config import Config
from napari_redenoise.data import NeighbouringFrames, Planes, TwoImages, load_pool, patches
from napari_redenoise.errors import ConfigError, InputError
from napari_redenoise.objectives import Noise2Void

WHOLE = (slice(None), slice(None))
KINDS = ("noise2self", "noise2void", "noise2noise", "r2r", "neighbor2neighbor")


def numbers(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_two_images_are_read_as_one_with_twice_the_channels() -> None:
    first, second = numbers(3, 2, 20, 24), -numbers(3, 2, 20, 24)
    pair = TwoImages(Planes(first, "TCYX"), Planes(second, "TCYX"))
    assert (pair.height, pair.width, pair.channels) == (20, 24, 2)
    assert list(pair.indices()) == [(0,), (1,), (2,)]
    window = pair.read((1,), slice(3, 7), slice(5, 9))
    np.testing.assert_array_equal(window[:2], first[1, :, 3:7, 5:9])
    np.testing.assert_array_equal(window[2:], second[1, :, 3:7, 5:9])


@pytest.mark.parametrize(
    ("axes", "shape", "count"),
    [("TYX", (4, 20, 24), 3), ("ZYX", (2, 20, 24), 1), ("TZYX", (3, 5, 20, 24), 10)],
)
def test_frames_are_paired_with_the_next_along_time_or_depth(axes, shape, count) -> None:
    stack = numbers(*shape)
    frames = NeighbouringFrames(Planes(stack, axes))
    indices = list(frames.indices())
    assert len(indices) == len(set(indices)) == count
    for index in indices:
        window = frames.read(index, *WHOLE)
        after = (index[0] + 1, *index[1:])
        np.testing.assert_array_equal(window, np.stack([stack[index], stack[after]]))


def test_without_time_the_last_axis_is_depth() -> None:
    frames = NeighbouringFrames(Planes(numbers(3, 4, 20, 24), "SZYX"))
    assert len(list(frames.indices())) == 9
    np.testing.assert_array_equal(frames.read((1, 2), *WHOLE)[1], numbers(3, 4, 20, 24)[1, 3])


def test_a_time_axis_of_one_frame_leaves_depth() -> None:
    frames = NeighbouringFrames(Planes(numbers(1, 4, 20, 24), "TZYX"))
    assert list(frames.indices()) == [(0, 0), (0, 1), (0, 2)]


def test_both_shots_are_normalised_alike_over_both() -> None:
    first = np.random.default_rng(0).normal(5.0, 1.0, (40, 40))
    second = np.random.default_rng(1).normal(9.0, 3.0, (40, 40))
    pool = load_pool(TwoImages(Planes(first, "YX"), Planes(second, "YX")), generator())
    both = np.concatenate([first, second])
    assert pool.normalisation.mean == pytest.approx((both.mean(),))
    assert pool.normalisation.std == pytest.approx((both.std(),))
    expected = (np.stack([first, second]) - both.mean()) / both.std()
    np.testing.assert_allclose(pool.blocks[0], expected, atol=1e-5)


def test_patches_have_the_allowed_orientations_only() -> None:
    block = numbers(1, 24, 24)
    pool = load_pool(Planes(block[0], "YX"), generator(), most_pixels=10**6)
    orientations = Noise2Void(mask_shape=("111",)).symmetries
    along_x = 0.0
    for patch in next(patches(pool, 8, 100, generator(), orientations)).noisy:
        step = (patch[0, 0, 1] - patch[0, 0, 0]).abs()
        along_x = max(along_x, float(step))
    # Neighbours along x differ by one grey level, those along y by 24.
    assert along_x == pytest.approx(1 / pool.normalisation.std[0], rel=1e-3)


def test_images_of_different_shapes_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(20, 24\) and \(20, 25\).*same scene"):
        TwoImages(Planes(numbers(20, 24), "YX"), Planes(numbers(20, 25), "YX"))


def test_the_same_image_twice_is_refused(tiny: Config, noisy) -> None:
    model = Redenoiser(tiny.replace({"objective.kind": "noise2noise"}), "cpu")
    with pytest.raises(InputError, match="another shot"):
        model.fit(noisy, target=noisy.copy())


def test_a_single_image_has_no_consecutive_frames(tiny: Config, noisy) -> None:
    model = Redenoiser(tiny.replace({"objective.kind": "noise2noise"}), "cpu")
    with pytest.raises(InputError, match="second image, or a stack"):
        model.fit(noisy)


def test_a_second_image_is_refused_by_objectives_of_one_shot(tiny: Config, noisy) -> None:
    with pytest.raises(ConfigError, match="leave the target out, or choose noise2noise"):
        Redenoiser(tiny, "cpu").fit(noisy, target=noisy + 1)


@pytest.mark.parametrize("backbone", ["standard", "equivariant", "adarenet"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", ["l2", "l1"])
def test_every_objective_trains_every_backbone(
    tiny: Config, noisy, kind: str, backbone: str, loss: str
) -> None:
    changes = {"objective.kind": kind, "network.kind": backbone, "training.loss": loss}
    if kind == "r2r":
        changes["objective.noise"] = {"gain": (1.0,)}
    model = Redenoiser(tiny.replace(changes), "cpu")
    second = np.roll(noisy, 1) if kind == "noise2noise" else None
    result = model.fit(noisy, target=second).predict(noisy)
    assert result.denoised.shape == noisy.shape
    assert np.isfinite(result.denoised).all()
    again = model.predict(noisy)
    np.testing.assert_array_equal(again.denoised, result.denoised)


@pytest.mark.parametrize("kind", KINDS)
def test_every_objective_removes_most_of_the_noise(tiny: Config, kind: str) -> None:
    y, x = np.mgrid[:96, :96]
    clean = 60 + 40 * np.sin(y / 9) * np.cos(x / 7)
    random = np.random.default_rng(0)
    noisy, second = random.poisson(clean), random.poisson(clean)
    changes = {"network.kind": "standard", "training.steps": 80, "objective.kind": kind}
    if kind == "r2r":
        changes["objective.noise"] = {"gain": (1.0,)}
    model = Redenoiser(tiny.replace({**changes, "training.batch_size": 8}), "cpu")
    model.fit(noisy, target=second if kind == "noise2noise" else None)
    error = np.mean((model.predict(noisy).denoised - clean) ** 2)
    assert error < 0.35 * np.mean((noisy - clean) ** 2)


def test_a_stack_is_its_own_pair_of_shots(tiny: Config) -> None:
    stack = np.random.default_rng(0).poisson(20.0, (3, 40, 40))
    model = Redenoiser(tiny.replace({"objective.kind": "noise2noise"}), "cpu").fit(stack, "TYX")
    assert model.predict(stack, "TYX").denoised.shape == stack.shape


def test_noise_of_the_wrong_number_of_channels_is_refused(tiny: Config, noisy) -> None:
    noise = {"gain": (1.0, 1.0, 1.0)}
    config = tiny.replace({"objective.kind": "r2r", "objective.noise": noise})
    with pytest.raises(ConfigError, match=r"noise of 3 channels.*has 1"):
        Redenoiser(config, "cpu").fit(noisy)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"objective.mask_shape": ("111",)}, "only noise2void has a mask shape"),
        ({"objective.kind": "noise2void", "objective.mask_shape": ("11",)}, "odd"),
        ({"objective.kind": "noise2void", "objective.mask_shape": ("1", "111", "1")}, "odd"),
        ({"objective.kind": "noise2void", "objective.mask_shape": ("101",)}, "middle"),
        ({"objective.kind": "noise2void", "objective.mask_shape": ("1x1",)}, "0 and 1"),
        ({"objective.kind": "noise2void", "objective.mask_shape": ("1" * 33,)}, "31"),
        ({"objective.noise": {"gain": (1.0,)}}, "only r2r draws from the noise"),
        ({"objective.noise": {"gain": (0.0,)}}, "both 0"),
        ({"objective.noise": {"gain": (1.0,), "offset": (float("nan"),)}}, "finite"),
        ({"objective.noise": {"gain": (float("inf"),)}}, "finite"),
        ({"objective.noise": {"gain": (1.0, 2.0), "offset": (1.0, 2.0, 3.0)}}, "per channel"),
    ],
)
def test_invalid_settings_are_refused_with_a_remedy(changes, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Config().replace(changes)
