import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_redenoise.config import ObjectiveConfig
from napari_redenoise.errors import ConfigError
from napari_redenoise.objectives import (
    R2R,
    Neighbor2Neighbor,
    Noise2Noise,
    PatchNoise,
    Supervised,
    build_objective,
    masked_loss,
)

SIGMAS = (0.4, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 6.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=generator(seed))


def blurred(x: torch.Tensor, sigma: float) -> torch.Tensor:
    return torch.from_numpy(ndimage.gaussian_filter(x.numpy(), (0, 0, sigma, sigma)))


@pytest.fixture(scope="module")
def clean() -> torch.Tensor:
    """Smooth structures, (1, 1, 256, 256), mean 0 and standard deviation 1."""
    image = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=(256, 256)), 4)
    return torch.from_numpy(image / image.std()).float()[None, None]


def test_noise2noise_predicts_one_shot_from_the_other() -> None:
    shots = noise(64, 4, 8, 8)
    sample = Noise2Noise()(shots, generator())
    straight = 0
    for number in range(64):
        first, second = shots[number].chunk(2)
        pair = (sample.input[number], sample.target[number])
        is_straight = torch.equal(pair[0], first) and torch.equal(pair[1], second)
        is_swapped = torch.equal(pair[0], second) and torch.equal(pair[1], first)
        assert is_straight != is_swapped
        straight += is_straight
    assert 16 < straight < 48
    assert sample.mask.shape == (64, 1, 8, 8)
    assert (sample.mask == 1).all()


def test_noise2noise_loss_exceeds_the_clean_one_by_the_variance(clean) -> None:
    shots = [clean + 0.8 * noise(*clean.shape, seed=seed) for seed in (4, 5)]
    sample = Noise2Noise()(torch.cat(shots, 1), generator())
    outputs = [blurred(sample.input, sigma) for sigma in SIGMAS]
    found = np.array([float(masked_loss(output, sample)) for output in outputs])
    true = np.array([float(((output - clean) ** 2).mean()) for output in outputs])
    assert 0 < np.argmin(true) < len(SIGMAS) - 1
    np.testing.assert_allclose(found - true, 0.64, rtol=0.03)


def test_supervised_targets_are_the_second_half() -> None:
    pair = noise(2, 6, 8, 8)
    sample = Supervised()(pair, generator())
    torch.testing.assert_close(sample.input, pair[:, :3], rtol=0, atol=0)
    torch.testing.assert_close(sample.target, pair[:, 3:], rtol=0, atol=0)


@pytest.mark.parametrize("size", [(8, 12), (9, 13)])
def test_neighbor2neighbor_draws_two_adjacent_pixels_per_cell(size) -> None:
    height, width = size
    image = torch.arange(float(height * width)).reshape(1, 1, height, width).repeat(50, 1, 1, 1)
    sample = Neighbor2Neighbor()(image, generator())
    assert sample.input.shape == (50, 1, height // 2, width // 2)
    rows, columns = (
        torch.stack(parts)
        for parts in zip(
            *((part // width, part % width) for part in (sample.input, sample.target)), strict=True
        )
    )
    cell_rows, cell_columns = torch.arange(height // 2)[:, None], torch.arange(width // 2)
    assert (rows // 2 == cell_rows).all()
    assert (columns // 2 == cell_columns).all()
    distance = (rows[0] - rows[1]).abs() + (columns[0] - columns[1]).abs()
    assert (distance == 1).all()
    # All eight ordered pairs occur, equally often: binomial, five standard deviations.
    codes = 8 * (rows[0] % 2) + 4 * (columns[0] % 2) + 2 * (rows[1] % 2) + columns[1] % 2
    counts = codes.unique(return_counts=True)[1]
    expected = codes.numel() / 8
    assert len(counts) == 8
    assert (counts - expected).abs().max() < 5 * np.sqrt(expected * 7 / 8)


def test_the_neighbor2neighbor_penalty_is_equation_10() -> None:
    noisy = noise(3, 2, 10, 12)
    sample = Neighbor2Neighbor(1.5)(noisy, generator())
    prediction = noise(3, 2, 5, 6, seed=7)
    whole = noise(3, 2, 10, 12, seed=8)
    # The cells' pixels are found again by their values.
    picked = []
    for part in (sample.input, sample.target):
        cells = noisy.reshape(3, 2, 5, 2, 6, 2).permute(0, 1, 2, 4, 3, 5).flatten(4)
        which = (cells == part[..., None]).float().argmax(-1)
        other = whole.reshape(3, 2, 5, 2, 6, 2).permute(0, 1, 2, 4, 3, 5).flatten(4)
        picked.append(other.gather(-1, which[..., None])[..., 0])
    expected = 1.5 * 0.4 * ((prediction - sample.target - (picked[0] - picked[1])) ** 2).mean()
    found = sample.penalty(prediction, lambda x: whole, 0.4, sample.mask)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_the_penalty_compares_masked_pixels_alone() -> None:
    noisy, mask = noise(2, 1, 8, 8), torch.zeros(2, 1, 4, 4)
    sample = Neighbor2Neighbor()(noisy, generator())
    prediction = noise(2, 1, 4, 4, seed=7).requires_grad_()
    assert float(sample.penalty(prediction, lambda x: x, 1.0, mask)) == 0
    mask[0, 0, 1, 2] = 1
    sample.penalty(prediction, lambda x: 0 * x, 1.0, mask).backward()
    assert prediction.grad.nonzero().tolist() == [[0, 0, 1, 2]]


def test_the_regulariser_needs_no_gradient_of_the_whole_image() -> None:
    weight = torch.ones((), requires_grad=True)
    noisy = noise(1, 1, 8, 8)
    sample = Neighbor2Neighbor()(noisy, generator())
    sample.penalty(sample.input * weight, lambda x: x * weight, 1.0, sample.mask).backward()
    # With the input as prediction and the identity as denoiser the two terms are equal, and the
    # gradient of the first alone would not vanish; the penalty is zero there.
    assert float(weight.grad) == pytest.approx(0.0, abs=1e-6)
    assert Neighbor2Neighbor(0.0)(noisy, generator()).penalty is None


def test_neighbor2neighbor_finds_the_best_filter(clean) -> None:
    noisy = clean + 1.0 * noise(*clean.shape, seed=4)
    sample = Neighbor2Neighbor()(noisy, generator())
    half = clean[..., ::2, ::2]
    outputs = [blurred(sample.input, sigma) for sigma in SIGMAS]
    found = [float(masked_loss(output, sample)) for output in outputs]
    true = [float(((output - half) ** 2).mean()) for output in outputs]
    assert 0 < np.argmin(true) < len(SIGMAS) - 1
    assert np.argmin(found) == np.argmin(true)


NOISES = {
    "Gaussian": PatchNoise((0.0,), (0.0,), (0.7,)),
    "photons": PatchNoise((0.15,), (-4.0,), (0.0,)),
    "photons and read noise": PatchNoise((0.1,), (-4.0,), (0.5,)),
}
every_noise = pytest.mark.parametrize("figures", NOISES.values(), ids=NOISES)


def shot(clean: torch.Tensor, figures: PatchNoise, seed: int = 0) -> torch.Tensor:
    """What a camera with these figures sees of a scene."""
    (gain,), (offset,), (read_noise,) = figures.gain, figures.offset, figures.read_noise
    light = clean
    if gain:
        light = offset + gain * torch.poisson((clean - offset) / gain, generator=generator(seed))
    return light + read_noise * torch.randn(clean.shape, generator=generator(seed + 1))


@every_noise
@pytest.mark.parametrize("recorruption", [0.5, 1.0])
def test_r2r_makes_unbiased_images_with_uncorrelated_noise(
    figures: PatchNoise, recorruption: float
) -> None:
    for level in (-1.0, 0.0, 3.0):
        scene = torch.full((8, 1, 256, 256), level)
        sample = R2R(figures, recorruption)(shot(scene, figures), generator(9))
        source, target = ((part - level).double() for part in (sample.input, sample.target))
        (gain,), (offset,), (read_noise,) = figures.gain, figures.offset, figures.read_noise
        variance = gain * (level - offset) + read_noise**2
        alpha = recorruption**2 / (1 + recorruption**2)
        # Standard errors of a mean and of a covariance of n values: six of them.
        n = source.numel()
        for part, share in ((source, 1 - alpha), (target, alpha)):
            assert abs(part.mean()) < 6 * np.sqrt(variance / share / n)
            # Thinned photons are Poisson, sums of independent noises add their variances.
            assert float(part.var()) == pytest.approx(variance / share, rel=0.02)
        spread = variance / np.sqrt(alpha * (1 - alpha))
        assert abs((source * target).mean()) < 6 * spread / np.sqrt(n)


@pytest.mark.parametrize("photons", [0.0, 0.5, 2.0, 8.0])
@pytest.mark.parametrize("read_noise", [1.0, 1.6])
def test_r2r_noises_are_hardly_correlated_in_the_dark(photons, read_noise) -> None:
    """Where read noise takes counts below zero, of which no photon can be taken."""
    figures = PatchNoise((1.0,), (0.0,), (read_noise,))
    scene = torch.full((8, 1, 256, 256), photons)
    sample = R2R(figures)(shot(scene, figures), generator(9))
    source, target = ((part - photons).double() for part in (sample.input, sample.target))
    assert abs(source.mean()) < 0.02
    assert abs(target.mean()) < 0.03
    assert abs((source * target).mean()) < 0.1 * (photons + read_noise**2)


@every_noise
def test_r2r_splits_the_image_without_loss(figures: PatchNoise) -> None:
    noisy = noise(2, 1, 32, 32)
    sample = R2R(figures, 0.5)(noisy, generator())
    torch.testing.assert_close(0.8 * sample.input + 0.2 * sample.target, noisy)


@every_noise
def test_the_loss_of_r2r_exceeds_the_true_one_by_a_constant(clean, figures) -> None:
    scene = clean.expand(4, -1, -1, -1)
    sample = R2R(figures)(shot(scene, figures), generator(3))
    outputs = [blurred(sample.input, sigma) for sigma in SIGMAS]
    found = np.array([float(masked_loss(output, sample)) for output in outputs])
    true = np.array([float(((output - scene) ** 2).mean()) for output in outputs])
    assert 0 < np.argmin(true) < len(SIGMAS) - 1
    # Two widths may be as good as each other.
    assert found[np.argmin(true)] - found.min() < 0.002 * np.ptp(true)
    assert np.ptp(found - true) < 0.06 * np.ptp(true)


def test_thinning_is_independent_and_gaussian_noise_is_not(clean) -> None:
    """Why R2R is never given such a Gaussian where there are photons.

    Both ways make noises n1, n2 without correlation. Independent ones also have E[n1^2 n2] = 0.
    With z of the standard deviation sqrt(gain * (y - offset)) it is gain * (a^2 - 1) * variance.
    """
    (gain,), (offset,), _ = NOISES["photons"].gain, NOISES["photons"].offset, ()
    scene = clean.expand(16, -1, -1, -1)
    noisy = shot(scene, NOISES["photons"])
    drawn = (gain * (noisy - offset)).sqrt() * torch.randn(noisy.shape, generator=generator(6))
    gaussian = (noisy + 0.5 * drawn - scene) ** 2 * (noisy - drawn / 0.5 - scene)
    expected = gain * (0.25 - 1) * gain * (clean.mean() - offset)
    assert float(gaussian.mean()) == pytest.approx(float(expected), rel=0.1)
    sample = R2R(NOISES["photons"])(noisy, generator(3))
    thinned = (sample.input - scene) ** 2 * (sample.target - scene)
    assert abs(float(thinned.mean())) < 0.1 * abs(float(expected))


@pytest.mark.parametrize("photons", [0.0, 2.0, 10.0, 40.0])
@pytest.mark.parametrize("read_noise", [1.5, 4.0])
def test_the_r2r_input_reveals_little_of_the_target_noise(photons, read_noise) -> None:
    """Read noise on photons, where a variance that follows the pixel itself gives the noise away.

    The target's noise as a function of the input's, by classes of the latter: what a network could
    learn of it, as a share of the variance of the image's noise.
    """
    figures = PatchNoise((1.0,), (0.0,), (read_noise,))
    scene = torch.full((8, 1, 256, 256), photons)
    sample = R2R(figures)(shot(scene, figures), generator(9))
    source, target = ((part - photons).double().flatten() for part in (sample.input, sample.target))
    classes = torch.bucketize(source, source.quantile(torch.linspace(0.05, 0.95, 19).double()))
    learned = torch.stack([target[classes == number].mean() for number in range(20)])
    assert float((learned**2).mean()) < 0.03 * (photons + read_noise**2)


@pytest.mark.parametrize("photons", [0.05, 0.5, 2.0, 10.0, 50.0])
@pytest.mark.parametrize("read_noise", [0.0, 2.0])
def test_r2r_compares_nearly_all_pixels_of_modelled_noise(photons, read_noise) -> None:
    figures = PatchNoise((1.0,), (0.0,), (read_noise,))
    noisy = shot(torch.full((8, 1, 256, 256), photons), figures)
    compared = R2R(figures)(noisy, generator()).mask
    assert compared.shape == (8, 1, 256, 256)
    assert set(compared.unique().tolist()) <= {0.0, 1.0}
    assert float((1 - compared).mean()) < 2e-3
    # They are the brightest, so there is a bias, of less than a hundredth of the noise.
    mean = float((noisy * compared).sum() / compared.sum())
    error = np.sqrt((photons + read_noise**2) / noisy.numel())
    assert abs(mean - photons) < 0.01 * np.sqrt(photons + read_noise**2) + 4 * error


@every_noise
def test_r2r_does_not_compare_outliers(figures) -> None:
    scene = torch.zeros(1, 2, 64, 64)
    noisy = shot(scene, figures)
    noisy[0, 0, 20, 30], noisy[0, 1, 40, 0], noisy[0, 1, 63, 63] = 9.0, 9.0, -9.0
    noisy[0, 0, 10:12, 10:12] = 9.0
    compared = R2R(figures)(noisy, generator()).mask[0, 0]
    assert not compared[[20, 40, 63], [30, 0, 63]].any()
    # Pixels around them, and what a lens can make, are compared.
    assert compared[19:22, 29:32].sum() == 8
    assert compared[10:12, 10:12].all()
    assert float(compared.mean()) > 0.998


@pytest.mark.parametrize(
    ("figures", "compares"),
    [
        (PatchNoise((0.01,), (0.0,), (1.0,)), False),
        (PatchNoise((0.01,), (-100.0,), (0.0,)), True),
        # No camera that counts photons.
        (PatchNoise((0.0,), (0.0,), (1.0,)), True),
        # Light of the darkest region is among the read noise.
        (PatchNoise((0.01,), (0.0,), (1.0,), (1.0,)), True),
    ],
)
def test_r2r_does_not_compare_long_tails_of_read_noise(figures, compares) -> None:
    """Cameras of uneven pixels: one in a thousand is noisy, and would be learned as signal."""
    noisy = torch.zeros(1, 1, 32, 32)
    noisy[0, 0, 20, 12], noisy[0, 0, 9, 25] = 2.5, -2.5
    compared = R2R(figures)(noisy, generator()).mask[0, 0]
    assert compared[[20, 9], [12, 25]].tolist() == [float(compares)] * 2
    assert compared.sum() >= compared.numel() - 2


def test_draws_for_a_prediction_are_the_inputs_of_training() -> None:
    objective, noisy = R2R(NOISES["photons"]), noise(1, 1, 16, 16)
    torch.testing.assert_close(
        objective.recorrupt(noisy, generator(4)), objective(noisy, generator(4)).input
    )


def test_channels_have_their_own_noise() -> None:
    figures = PatchNoise((0.3, 0.0), (-3.0, 0.0), (0.0, 0.5))
    noisy = torch.zeros(4, 2, 128, 128)
    sample = R2R(figures)(noisy, generator())
    assert float(sample.input[:, 1].std()) == pytest.approx(0.5 * 0.5, rel=0.03)
    # Ten photons, thinned: given their number, a variance of alpha (1 - alpha) times it.
    expected = 0.3 * np.sqrt(0.2 * 0.8 * 10) / 0.8
    assert float(sample.input[:, 0].std()) == pytest.approx(expected, rel=0.03)


def test_r2r_without_noise_is_refused() -> None:
    with pytest.raises(ConfigError, match="gain, offset and read noise"):
        build_objective(ObjectiveConfig(kind="r2r"))
