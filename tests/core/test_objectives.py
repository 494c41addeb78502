from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from napari_redenoise.config import ObjectiveConfig, TrainedObjective
from napari_redenoise.objectives import (
    OBJECTIVE_NAMES,
    Neighbor2Neighbor,
    Noise2Noise,
    Noise2Self,
    Noise2Void,
    PatchNoise,
    Sample,
    build_objective,
    masked_loss,
)
from napari_redenoise.objectives._blind_spot import neighbour_mean

OBJECTIVES = {
    "grid of 4": Noise2Self(4),
    "grid of 3": Noise2Self(3),
    "8 % in windows of 5": Noise2Void(0.08, 5),
    "30 % in windows of 3": Noise2Void(0.3, 3),
    "medians": Noise2Void(0.1, 5, "median"),
}
SHAPES = {
    "bar along x": ("11111",),
    "bar along y": ("1",) * 7,
    "cross": ("010", "111", "010"),
    "hook": ("00000", "00011", "00110", "00100", "00000"),
}
every_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=generator(seed))


def unique_values(batch: int, height: int, width: int) -> torch.Tensor:
    """Pictures in which every pixel holds its own number."""
    return torch.arange(float(height * width)).reshape(1, 1, height, width).repeat(batch, 1, 1, 1)


@every_objective
def test_unmasked_pixels_are_untouched_and_masked_ones_replaced(objective) -> None:
    noisy = noise(4, 3, 33, 41)
    sample = objective(noisy, generator())
    masked = (sample.mask == 1).expand_as(noisy)
    assert set(sample.mask.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(sample.input[~masked], noisy[~masked], rtol=0, atol=0)
    assert (sample.input[masked] != noisy[masked]).all()
    torch.testing.assert_close(sample.target, noisy, rtol=0, atol=0)


@every_objective
def test_the_noisy_patches_are_not_modified(objective) -> None:
    noisy = noise(2, 1, 32, 32)
    before = noisy.clone()
    objective(noisy, generator())
    torch.testing.assert_close(noisy, before, rtol=0, atol=0)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("replacement", ["uniform", "median"])
def test_noise2void_hides_all_pixels_of_the_mask_shape(
    shape: tuple[str, ...], replacement: str
) -> None:
    objective = Noise2Void(0.05, 5, replacement, shape)
    noisy = noise(3, 2, 40, 37)
    sample = objective(noisy, generator())
    drawing = np.array([[cell == "1" for cell in row] for row in shape])
    centres = sample.mask[:, 0].numpy() == 1
    hidden = np.stack([ndimage.binary_dilation(one, drawing) for one in centres])
    hidden = torch.from_numpy(hidden)[:, None].expand_as(noisy)
    torch.testing.assert_close(sample.input[~hidden], noisy[~hidden], rtol=0, atol=0)
    assert (sample.input[hidden] != noisy[hidden]).all()
    other = torch.where(hidden, 1e3 * noise(3, 2, 40, 37, seed=2), noisy)
    again = objective(other, generator())
    torch.testing.assert_close(again.input, sample.input, rtol=0, atol=0)
    assert 0.02 < hidden.float().mean() < 0.35


def test_a_mask_shape_larger_than_the_window_leaves_neighbours() -> None:
    shape = ("1" * 9,) * 9
    noisy = noise(2, 1, 64, 64) + 10
    sample = Noise2Void(0.01, 3, "uniform", shape)(noisy, generator())
    centres = sample.mask == 1
    assert centres.any()
    # 0 would stand for no neighbour.
    assert (sample.input[centres] > 5).float().mean() > 0.9


def test_noise2void_uses_the_median_of_visible_pixels() -> None:
    noisy = noise(2, 3, 20, 24)
    sample = Noise2Void(0.2, 5, "median")(noisy, generator())
    hidden = sample.mask[:, 0].numpy() == 1
    for number, row, column in np.argwhere(hidden):
        top, left = min(max(row - 2, 0), 15), min(max(column - 2, 0), 19)
        window = (number, slice(None), slice(top, top + 5), slice(left, left + 5))
        seen = noisy[window].numpy()[:, ~hidden[number, top : top + 5, left : left + 5]]
        # torch takes the lower of two middle values.
        expected = np.quantile(seen, 0.5, axis=1, method="lower")
        np.testing.assert_array_equal(sample.input[number, :, row, column], expected)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (("1",), 8),
        (("010", "111", "010"), 8),
        (("111",), 4),
        (("1", "1", "1"), 4),
        (("001", "010", "100"), 4),
        (("000", "011", "010"), 2),
        (("00000", "00011", "00110", "00000", "00000"), 1),
    ],
)
def test_patches_have_the_symmetries_of_the_mask_shape(shape, expected) -> None:
    turns = Noise2Void(mask_shape=shape).symmetries
    drawing = np.array([[cell == "1" for cell in row] for row in shape])
    assert len(turns) == len(set(turns)) == expected
    for mirrored, quarters in turns:
        rotated = np.rot90(drawing[:, ::-1] if mirrored else drawing, quarters)
        np.testing.assert_array_equal(rotated, drawing)


@pytest.mark.parametrize("spacing", [2, 3, 4, 7])
def test_the_noise2self_input_is_independent_of_masked_pixels(spacing: int) -> None:
    noisy = noise(4, 2, 29, 34)
    sample = Noise2Self(spacing)(noisy, generator())
    other = torch.where(sample.mask == 1, noise(4, 2, 29, 34, seed=2) * 1e3, noisy)
    again = Noise2Self(spacing)(other, generator())
    torch.testing.assert_close(again.mask, sample.mask, rtol=0, atol=0)
    torch.testing.assert_close(again.input, sample.input, rtol=0, atol=0)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**16), st.sampled_from([3, 5, 7]), st.integers(16, 30), st.integers(16, 30))
def test_noise2void_replaces_a_pixel_by_one_of_its_window(
    seed: int, window: int, height: int, width: int
) -> None:
    noisy = unique_values(3, height, width)
    noisy += 1.0  # 0 stands for no neighbour at all
    sample = Noise2Void(0.3, window)(noisy, generator(seed))
    hidden = sample.mask[:, 0] == 1
    for number, row, column in hidden.nonzero().tolist():
        if sample.input[number, 0, row, column] == 0:
            continue
        source_row, source_column = divmod(int(sample.input[number, 0, row, column]) - 1, width)
        assert not hidden[number, source_row, source_column]
        assert (source_row, source_column) != (row, column)
        # At a border the window moves inside and keeps its size.
        top = min(max(row - window // 2, 0), height - window)
        left = min(max(column - window // 2, 0), width - window)
        assert top <= source_row < top + window
        assert left <= source_column < left + window


@pytest.mark.parametrize("pixel", [(0, 0), (0, 15), (15, 0), (15, 15), (0, 7), (7, 15), (8, 8)])
def test_noise2void_draws_every_neighbour_equally_often(pixel: tuple[int, int]) -> None:
    noisy = unique_values(6000, 16, 16) + 1
    sample = Noise2Void(0.2, 3)(noisy, generator())
    row, column = pixel
    drawn = sample.input[:, 0, row, column][sample.mask[:, 0, row, column] == 1]
    values, counts = drawn.unique(return_counts=True)
    assert len(values) == 8
    assert row * 16 + column + 1 not in values
    # Binomial with p = 1/8: five standard deviations.
    expected = len(drawn) / 8
    assert (counts - expected).abs().max() < 5 * np.sqrt(expected * 7 / 8)


def test_a_window_larger_than_the_patch_shrinks_to_it() -> None:
    noisy = unique_values(4, 8, 12)
    sample = Noise2Void(0.5, 15)(noisy, generator())
    masked = sample.mask == 1
    assert (sample.input[masked] != noisy[masked]).all()
    assert set(sample.input.unique().tolist()) <= set(range(96))


def test_noise2void_takes_the_same_neighbour_in_all_channels() -> None:
    image = unique_values(2, 20, 20)
    sample = Noise2Void(0.3, 5)(torch.cat([image, image + 1000], 1), generator())
    torch.testing.assert_close(
        sample.input[:, 1] - sample.input[:, 0], torch.full((2, 20, 20), 1e3)
    )


def test_noise2void_masks_at_least_one_pixel_of_every_patch() -> None:
    sample = Noise2Void(1e-6, 3)(noise(5, 1, 16, 16), generator())
    assert sample.mask.flatten(1).sum(1).tolist() == [1.0] * 5


@pytest.mark.parametrize("spacing", [2, 4, 5])
def test_noise2self_masks_one_pixel_per_square_of_its_grid(spacing: int) -> None:
    side = 6 * spacing
    mask = Noise2Self(spacing)(noise(8, 1, side, side), generator()).mask
    assert mask.flatten(1).sum(1).tolist() == [36.0] * 8
    for image in mask[:, 0]:
        rows, columns = image.nonzero().T
        assert len((rows % spacing).unique()) == len((columns % spacing).unique()) == 1


@pytest.mark.parametrize("share", [0.04, 0.08, 0.3])
def test_noise2void_masks_about_the_nominal_share(share: float) -> None:
    mask = Noise2Void(share, 5)(noise(16, 1, 64, 64), generator()).mask
    std = np.sqrt(share * (1 - share) / mask.numel())
    assert abs(float(mask.mean()) - share) < 5 * std


def test_every_phase_of_the_grid_occurs() -> None:
    mask = Noise2Self(4)(noise(300, 1, 16, 16), generator()).mask
    phases = {tuple(image.nonzero()[0].tolist()) for image in mask[:, 0]}
    assert phases == {(row, column) for row in range(4) for column in range(4)}


def test_neighbour_mean_excludes_the_pixel_itself() -> None:
    x = noise(2, 3, 17, 23)
    taps = np.array([[0.5, 1, 0.5], [1, 0, 1], [0.5, 1, 0.5]]) / 6
    expected = ndimage.convolve(x.double().numpy(), taps[None, None], mode="mirror")
    np.testing.assert_allclose(neighbour_mean(x).numpy(), expected, atol=1e-6)


@every_objective
def test_samples_are_determined_by_the_generator(objective) -> None:
    noisy = noise(4, 1, 32, 32)
    first, again, other = (objective(noisy, generator(seed)) for seed in (5, 5, 6))
    for part, same in zip(first, again, strict=True):
        torch.testing.assert_close(part, same, rtol=0, atol=0)
    assert (first.mask != other.mask).any()


@every_objective
def test_the_global_generator_is_left_alone(objective) -> None:
    before = torch.get_rng_state()
    objective(noise(2, 1, 32, 32), generator())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", ["l2", "l1"])
@pytest.mark.parametrize("mask_channels", [1, 3])
def test_the_loss_is_the_mean_error_over_the_masked_pixels(mask_channels: int, kind: str) -> None:
    prediction, target = noise(2, 3, 6, 5).bfloat16(), noise(2, 3, 6, 5, seed=2)
    mask = (noise(2, mask_channels, 6, 5, seed=3) > 0).float()
    loss = masked_loss(prediction, Sample(target, target, mask), kind)
    chosen = np.broadcast_to(mask.numpy(), target.shape) == 1
    error = (prediction.double().numpy() - target.double().numpy())[chosen]
    assert loss.dtype == torch.float32
    expected = np.mean(error**2) if kind == "l2" else np.mean(np.abs(error))
    assert float(loss) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (ObjectiveConfig(spacing=6), Noise2Self(6)),
        (
            ObjectiveConfig(kind="noise2void", masked_fraction=0.2, window=7),
            Noise2Void(0.2, 7),
        ),
        (
            ObjectiveConfig(kind="noise2void", replacement="median", mask_shape=("111",)),
            Noise2Void(0.08, 5, "median", ("111",)),
        ),
        (ObjectiveConfig(kind="noise2noise"), Noise2Noise()),
        (ObjectiveConfig(kind="neighbor2neighbor", regularisation=1), Neighbor2Neighbor(1)),
    ],
)
def test_the_configuration_names_the_objective(config, expected) -> None:
    assert build_objective(config) == expected


SIGMAS = (0.4, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 6.0)


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    """A clean image with fine and coarse structure, and the same with noise."""
    random = np.random.default_rng(3)
    clean = ndimage.gaussian_filter(random.normal(size=(128, 128)), 2.5)
    clean /= clean.std()
    return clean, clean + 0.8 * random.normal(size=clean.shape)


def losses(
    objective,
    noisy: np.ndarray,
    target: np.ndarray,
    draws: int = 16,
    sigmas: tuple[float, ...] = SIGMAS,
) -> np.ndarray:
    """Masked loss of Gaussian filters of increasing width, averaged over masks."""
    batch = torch.from_numpy(noisy).float().expand(draws, 1, *noisy.shape)
    sample = objective(batch, generator())
    goal = sample._replace(target=torch.from_numpy(target).float().expand_as(batch))
    blurred = (
        torch.from_numpy(ndimage.gaussian_filter(sample.input.numpy(), (0, 0, sigma, sigma)))
        for sigma in sigmas
    )
    return np.array([float(masked_loss(prediction, goal)) for prediction in blurred])


PROMISING = {
    "grid": Noise2Self(4),
    "random": Noise2Void(0.08, 5),
    "medians": Noise2Void(0.08, 5, "median"),
}
every_promising = pytest.mark.parametrize("objective", PROMISING.values(), ids=PROMISING)


@pytest.mark.parametrize("objective", [Noise2Self(4), Noise2Void(0.08, 5)], ids=["grid", "random"])
def test_the_loss_finds_the_best_filter_for_the_clean_image(objective, images) -> None:
    clean, noisy = images
    true = [np.mean((ndimage.gaussian_filter(noisy, sigma) - clean) ** 2) for sigma in SIGMAS]
    best = int(np.argmin(true))
    assert 0 < best < len(SIGMAS) - 1
    assert int(np.argmin(losses(objective, noisy, noisy))) == best


def test_median_replacement_finds_the_best_filter(images) -> None:
    # A median is a good guess itself, and favours filters a little narrower: by no whole step here.
    sigmas = (0.4, 0.8, 1.2, 2.0, 3.5)
    clean, noisy = images
    true = [np.mean((ndimage.gaussian_filter(noisy, sigma) - clean) ** 2) for sigma in sigmas]
    assert int(np.argmin(true)) == 2
    medians = Noise2Void(0.08, 5, "median")
    assert int(np.argmin(losses(medians, noisy, noisy, sigmas=sigmas))) == 2
    # A pixel that is not hidden would find that nothing is to be done.
    seen = [np.mean((ndimage.gaussian_filter(noisy, sigma) - noisy) ** 2) for sigma in sigmas]
    assert int(np.argmin(seen)) == 0


@every_promising
def test_the_loss_exceeds_the_clean_loss_by_the_noise_variance(objective, images) -> None:
    clean, noisy = images
    against_clean = losses(objective, noisy, clean)
    excess = losses(objective, noisy, noisy) - against_clean
    np.testing.assert_allclose(excess, 0.8**2, rtol=0.05)
    assert np.ptp(excess) < 0.1 * np.ptp(against_clean)


def test_noise_along_x_needs_a_mask_along_x(images) -> None:
    """With correlated noise a blind pixel prefers narrow filters; a blind bar does not."""
    clean, _ = images
    white = np.random.default_rng(5).normal(size=clean.shape)
    noisy = clean + 0.9 * ndimage.uniform_filter1d(white, 3, axis=1, mode="wrap") * np.sqrt(3)
    true = [np.mean((ndimage.gaussian_filter(noisy, sigma) - clean) ** 2) for sigma in SIGMAS]
    best = int(np.argmin(true))
    assert int(np.argmin(losses(Noise2Void(0.05, 5), noisy, noisy))) < best
    bar = Noise2Void(0.05, 9, "uniform", ("11111",))
    assert int(np.argmin(losses(bar, noisy, noisy))) == best


def test_every_objective_has_a_name_and_can_be_built() -> None:
    assert set(OBJECTIVE_NAMES) == set(get_args(TrainedObjective))
    for kind in OBJECTIVE_NAMES:
        noise = PatchNoise((1.0,), (0.0,), (0.0,)) if kind == "r2r" else None
        built = build_objective(ObjectiveConfig(kind=kind), noise)
        assert type(built).__name__ == OBJECTIVE_NAMES[kind][0]
