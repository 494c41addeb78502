from typing import Any

import dask.array as da
import numpy as np
import pytest
import torch
import zarr

from napari_redenoise import Config, Redenoiser
from napari_redenoise.data import (
    NeighbouringFrames,
    Normalisation,
    Planes,
    TwoImages,
    _bounded_reading,
    load_pool,
    patches,
)
from napari_redenoise.errors import ConfigError, InputError

# A power of two, by which grey levels stay exact; none is so far from the mean that it is cut off.
STD = 1024.0
UNIT = Normalisation((0.0,), (STD,))
NOT_TURNED = ((False, 0),)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def numbers(*shape: int) -> np.ndarray:
    """Every pixel tells where it is."""
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def disc(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return (y - 0.4 * height) ** 2 + (x - 0.6 * width) ** 2 < (0.2 * height) ** 2


class Counting:
    """An array that notes the windows that were read of it."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype
        self.read: list[np.ndarray] = []

    def __getitem__(self, key: Any) -> np.ndarray:
        self.read.append(self._array[key])
        return self.read[-1]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_bounded_reading, "BLOCK", 32)


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.usefixtures("small_blocks")
def test_without_a_region_the_random_numbers_are_drawn_as_ever(pairs: bool) -> None:
    stack, other = numbers(3, 70, 90), -numbers(3, 70, 90)
    planes = Planes(stack, "TYX")
    shots = TwoImages(planes, Planes(other, "TYX")) if pairs else planes
    drawn, expected = generator(3), generator(3)
    pool = load_pool(shots, drawn, UNIT, most_pixels=6000)
    batch = STD * next(patches(pool, 16, 4, drawn)).noisy
    # The order of draws is that of version 0.1: blocks, then area, corner and orientation.
    edges = {"y": [0, 23, 46, 70], "x": [0, 30, 60, 90]}
    blocks = [
        (t, slice(*edges["y"][i : i + 2]), slice(*edges["x"][j : j + 2]))
        for t in range(3)
        for i in range(3)
        for j in range(3)
    ]
    images = (stack, other) if pairs else (stack,)
    chosen, pixels = [], 0
    for number in torch.randperm(27, generator=expected).tolist():
        if pixels < 6000:
            chosen.append(np.stack([image[blocks[number]] for image in images]))
            pixels += chosen[-1].size
    areas = torch.tensor([float(block[0].size) for block in chosen])
    for number, patch in zip(
        torch.multinomial(areas, 4, replacement=True, generator=expected).tolist(),
        batch,
        strict=True,
    ):
        block = chosen[number]
        top, left, orientation = (
            int(torch.randint(high, (), generator=expected))
            for high in (block.shape[1] - 15, block.shape[2] - 15, 8)
        )
        window = block[:, top : top + 16, left : left + 16]
        window = window[..., ::-1] if orientation >= 4 else window
        np.testing.assert_array_equal(patch.numpy(), np.rot90(window, orientation % 4, (1, 2)))
    assert torch.equal(drawn.get_state(), expected.get_state())


@pytest.mark.parametrize("side", [16, 9])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64])
def test_patches_have_their_centre_in_the_region(side: int, dtype) -> None:
    region = disc(60, 50)
    pool = load_pool(Planes(numbers(60, 50), "YX", region.astype(dtype) * 3), generator(), UNIT)
    batch = STD * next(patches(pool, side, 6000, generator(), NOT_TURNED)).noisy
    centres = batch[:, 0, side // 2, side // 2].int().unique()
    # All of them, and no others: the disc is far enough from the border.
    assert centres.tolist() == np.flatnonzero(region).tolist()
    assert (batch[:, 0, 1, 0] - batch[:, 0, 0, 0] == 50).all()


@pytest.mark.usefixtures("small_blocks")
def test_blocks_are_visited_in_proportion_to_the_centres_in_them() -> None:
    region = np.zeros((32, 64), bool)
    region[10:14, 10:15], region[12:22, 40:46] = True, True
    pool = load_pool(Planes(numbers(32, 64), "YX", region), generator(), UNIT)
    batch = STD * next(patches(pool, 8, 4000, generator(), NOT_TURNED)).noisy
    right = (batch[:, 0, 4, 4] % 64 >= 32).float().mean()
    # 20 and 60 pixels; five standard deviations are 0.035.
    assert float(right) == pytest.approx(0.75, abs=0.035)


def test_patches_of_a_region_at_the_border_stay_inside() -> None:
    region = np.zeros((40, 40), bool)
    region[:2, 37:] = True
    pool = load_pool(Planes(numbers(40, 40), "YX", region), generator(), UNIT)
    batch = STD * next(patches(pool, 16, 50, generator(), NOT_TURNED)).noisy
    assert set(batch[:, 0, 0, 0].int().tolist()) == {24}


@pytest.mark.usefixtures("small_blocks")
def test_centres_away_from_the_border_are_preferred() -> None:
    region = np.zeros((32, 64), bool)
    region[0, 5] = region[20, 45] = True
    pool = load_pool(Planes(numbers(32, 64), "YX", region), generator(), UNIT)
    batch = STD * next(patches(pool, 16, 50, generator(), NOT_TURNED)).noisy
    assert set(batch[:, 0, 8, 8].int().tolist()) == {20 * 64 + 45}


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("wrap", [np.asarray, lambda a: da.from_array(a, chunks=20), zarr.array])
def test_the_normalisation_is_that_of_the_pixels_inside(wrap) -> None:
    image = np.random.default_rng(0).normal(5, 1, (4, 2, 70, 80))
    region = np.stack([disc(70, 80), np.zeros((70, 80)), np.ones((70, 80)), disc(70, 80)]) > 0
    image[:, :, 0, 0] = np.nan
    pool = load_pool(Planes(image, "TCYX", wrap(region)), generator())
    for channel in (0, 1):
        inside = image[:, channel][region & np.isfinite(image[:, channel])]
        assert pool.normalisation.mean[channel] == pytest.approx(inside.mean(), rel=1e-12)
        assert pool.normalisation.std[channel] == pytest.approx(inside.std(), rel=1e-9)
    plane = load_pool(Planes(image, "TCYX", wrap(disc(70, 80))), generator()).normalisation
    inside = image[:, :, disc(70, 80)]
    np.testing.assert_allclose(plane.mean, inside.mean((0, 2)), rtol=1e-12)


def test_a_region_is_in_the_order_of_the_images_axes() -> None:
    image, region = np.random.default_rng(0).normal(size=(3, 50, 2, 40)), disc(40, 50)
    expected = image[1, :, 0][region.T].mean()
    stack = np.zeros((3, 50, 40), bool)
    stack[1] = region.T
    pool = load_pool(Planes(image, "TXCY", stack), generator())
    assert pool.normalisation.mean[0] == pytest.approx(expected, rel=1e-12)
    plane = load_pool(Planes(image[1:2], "TXCY", region), generator())
    assert plane.normalisation.mean[0] == pytest.approx(expected, rel=1e-12)


@pytest.mark.usefixtures("small_blocks")
def test_of_a_large_image_only_blocks_with_the_region_are_read() -> None:
    region = np.zeros((5, 100, 130), np.uint8)
    region[3, 40:60, 70:80] = 1
    image, mask = Counting(numbers(5, 100, 130)), Counting(region)
    pool = load_pool(Planes(image, "TYX", mask), generator(), UNIT)
    read = np.concatenate([part.ravel() for part in image.read])
    assert set(np.flatnonzero(region)) <= set(read.astype(int))
    # Rows 25 to 75 and columns 52 to 104 of frame 3, cut at row 50 and column 78.
    assert len(pool.blocks) == len(image.read) == 4
    assert max(part.size for part in mask.read) <= 32 * 32


def test_of_pairs_both_shots_count_inside_the_region() -> None:
    first, second = np.random.default_rng(0).normal(5, 2, (2, 60, 50))
    region = disc(60, 50)
    shots = TwoImages(Planes(first, "YX", region), Planes(second, "YX"))
    both = np.concatenate([first[region], second[region]])
    assert load_pool(shots, generator()).normalisation.mean[0] == pytest.approx(both.mean())


def test_pairs_of_frames_use_pixels_inside_in_both() -> None:
    stack = np.random.default_rng(0).normal(5, 2, (4, 40, 40))
    region = np.zeros(stack.shape, bool)
    region[1, 5:30], region[2, 10:35] = True, True
    normalisation = load_pool(NeighbouringFrames(Planes(stack, "TYX", region)), generator())
    assert normalisation.normalisation.mean[0] == pytest.approx(stack[1:3, 10:30].mean())
    region[2] = False
    with pytest.raises(
        InputError, match=r"region holds no pixels: .* Noise2Noise on consecutive frames"
    ):
        load_pool(NeighbouringFrames(Planes(stack, "TYX", region)), generator())


@pytest.mark.parametrize(
    ("region", "words"),
    [
        (np.zeros((70, 54), bool), r"the training region holds no pixels: draw"),
        (np.ones((54, 70), bool), r"region of shape \(70, 54\), got \(54, 70\): draw it on this"),
        (np.ones((1, 70, 54), bool), r"got \(1, 70, 54\): draw it"),
        (np.ones((70, 54)), r"bool or integers, got float64: compare it with a threshold"),
    ],
)
def test_a_region_that_does_not_fit_is_refused(tiny: Config, noisy, region, words) -> None:
    model = Redenoiser(tiny, "cpu")
    with pytest.raises(InputError, match=words):
        model.fit(noisy, mask=region)
    assert not model.session.is_trained


def test_a_region_of_one_value_is_refused(tiny: Config, noisy) -> None:
    image = noisy.astype(np.float32)
    image[disc(70, 54)] = 7
    with pytest.raises(InputError, match=r"of the region has the same value.*another region"):
        Redenoiser(tiny, "cpu").fit(image, mask=disc(70, 54))


def test_a_region_of_the_whole_image_changes_the_corners_only(tiny: Config, noisy) -> None:
    plain = Redenoiser(tiny, "cpu").fit(noisy)
    model = Redenoiser(tiny, "cpu").fit(noisy, mask=np.ones(noisy.shape, int).tolist())
    assert model.session.normalisation == plain.session.normalisation
    assert model.session.provenance["region"]
    assert not plain.session.provenance["region"]
    assert model.predict(noisy).denoised.shape == noisy.shape


@pytest.mark.parametrize("kind", ["noise2self", "noise2noise", "neighbor2neighbor"])
def test_pixels_far_outside_the_region_do_not_matter(tiny: Config, kind: str) -> None:
    stack = np.random.default_rng(0).poisson(40.0, (3, 96, 96)).astype(np.float32)
    region = np.zeros((96, 96), bool)
    region[30:50, 30:50] = True
    changed = stack.copy()
    # Patches of 32 (or twice as large) reach 32 pixels further at most.
    changed[:, 85:], changed[..., 85:] = 1e6, np.nan
    config = tiny.replace({"objective.kind": kind, "training.patch_size": 16})
    losses = [
        [event.loss for event in Redenoiser(config, "cpu").fit_events(image, mask=region)]
        for image in (stack, changed)
    ]
    assert losses[0] == losses[1]


def test_several_images_make_one_pool_with_one_normalisation() -> None:
    random = np.random.default_rng(0)
    first, second = random.normal(3, 1, (2, 40, 50)), random.normal(9, 2, (20, 30))
    pool = load_pool([Planes(first, "TYX"), Planes(second[None], "TYX")], generator())
    pixels = np.concatenate([first.ravel(), second.ravel()])
    assert pool.normalisation.mean[0] == pytest.approx(pixels.mean(), rel=1e-12)
    assert pool.normalisation.std[0] == pytest.approx(pixels.std(), rel=1e-9)
    blocks = {tuple(block.shape): block for block in pool.blocks}
    assert set(blocks) == {(1, 40, 50), (1, 20, 30)}
    expected = (second - pixels.mean()) / pixels.std()
    np.testing.assert_allclose(blocks[1, 20, 30][0], expected, atol=1e-5)
    batch = next(patches(pool, 16, 3000, generator())).noisy
    # 600 of 4600 pixels are of the other image: five standard deviations are 0.03.
    share = float((batch.mean((1, 2, 3)) > 0.5).float().mean())
    assert share == pytest.approx(600 / 4600, abs=0.03)


def test_a_model_is_trained_on_several_images(tiny: Config, noisy) -> None:
    others = [da.from_array(noisy[:40].astype(np.float32) + 30), noisy[:, 5:].tolist()]
    model = Redenoiser(tiny, "cpu").fit(noisy, images=others)
    pixels = np.concatenate([np.asarray(image, float).ravel() for image in (noisy, *others)])
    assert model.session.normalisation.mean[0] == pytest.approx(pixels.mean())
    assert (model.session.provenance["images"], model.session.provenance["steps"]) == (3, 3)
    assert model.predict(noisy).denoised.shape == noisy.shape


def test_stacks_are_paired_each_with_its_own_frames(tiny: Config) -> None:
    stacks = np.random.default_rng(0).poisson(20.0, (2, 3, 40, 40))
    model = Redenoiser(tiny.replace({"objective.kind": "noise2noise"}), "cpu")
    model.fit(stacks[0], images=[stacks[1]])
    assert model.session.normalisation.mean[0] == pytest.approx(
        # The frames in the middle are in two pairs.
        np.average(stacks, axis=1, weights=[1, 2, 1]).mean()
    )


def test_other_images_that_do_not_fit_are_refused(tiny: Config, noisy) -> None:
    model = Redenoiser(tiny, "cpu")
    with pytest.raises(ConfigError, match="belongs to one image: leave it out"):
        model.plan(noisy, mask=np.ones(noisy.shape, bool), images=[noisy])
    with pytest.raises(ConfigError, match="belongs to one image: leave it out"):
        model.fit(noisy, target=noisy, images=[noisy])
    with pytest.raises(InputError, match="one letter per axis"):
        model.fit(noisy, images=[noisy[None]])
    colour = np.stack([noisy] * 3)
    with pytest.raises(InputError, match=r"have 3 and 2 channel\(s\): choose others"):
        model.fit(colour, "CYX", images=[colour[:2]])
    assert not model.session.is_trained
