"""Neighbouring planes: which they are, how they are read, and what networks make of them."""

import itertools

import numpy as np
import pytest
import tifffile
import torch

from napari_redenoise import Config, Redenoiser
from napari_redenoise.config import NetworkConfig
from napari_redenoise.data import (
    NeighbouringFrames,
    Normalisation,
    Planes,
    context_of,
    load_pool,
    patches,
)
from napari_redenoise.inference import _predict, predict
from napari_redenoise.model._neighbours import _windows
from napari_redenoise.nn import build_network, with_context

UNIT = Normalisation((0.0,), (1.0,))
KINDS = ("standard", "equivariant", "adarenet")


def small(kind: str = "adarenet", context: int = 2, channels: int = 1) -> NetworkConfig:
    return NetworkConfig(
        kind=kind, context=context, channels=channels, levels=2, encoder_width=8, decoder_width=8
    )


def built(network: NetworkConfig, seed: int = 0) -> torch.nn.Module:
    return build_network(network, torch.Generator().manual_seed(seed)).eval()


def numbered(*shape: int) -> np.ndarray:
    """Every plane (16, 16) holds its own number."""
    count = int(np.prod(shape))
    planes = np.arange(count, dtype=np.float32).reshape(shape)
    return np.broadcast_to(planes[..., None, None], (*shape, 16, 16)).copy()


@pytest.mark.parametrize("axes", ["TYX", "ZYX"])
def test_neighbours_lie_before_and_after(axes: str) -> None:
    planes = Planes(numbered(5), axes, context=2)
    assert planes.neighbours((2,)) == ((0,), (1,), (3,), (4,))
    assert planes.neighbours((0,)) == (None, None, (1,), (2,))
    assert planes.neighbours((4,)) == ((2,), (3,), None, None)


def test_of_two_axes_neighbours_are_the_next_along_both() -> None:
    planes = Planes(numbered(3, 4), "TZYX", context=2)
    assert planes.neighbours((1, 1)) == ((0, 1), (1, 0), (1, 2), (2, 1))
    assert planes.neighbours((0, 3)) == (None, (0, 2), None, (1, 3))
    one = Planes(numbered(3, 4), "TZYX", context=1)
    assert one.neighbours((1, 1)) == ((0, 1), (2, 1))


def test_other_axes_have_no_neighbours() -> None:
    assert Planes(numbered(4), "SYX", context=2).neighbours((1,)) == (None,) * 4
    assert Planes(numbered(), "YX", context=2).neighbours(()) == (None,) * 4
    assert Planes(numbered(4), "TYX").neighbours((1,)) == ()
    stack = Planes(numbered(3, 1), "TZYX", context=2)
    assert stack.neighbours((1, 0)) == (None, (0, 0), (2, 0), None)


def test_the_target_of_noise2noise_is_never_shown() -> None:
    frames = NeighbouringFrames(Planes(numbered(5), "TYX", context=2))
    assert frames.neighbours((2,)) == (None,) * 4


def test_patches_come_with_their_neighbours() -> None:
    rng = np.random.default_rng(0)
    stack = (numbered(6) + rng.uniform(0, 0.1, (6, 16, 16))).astype(np.float32)
    pool = load_pool(Planes(stack, "TYX", context=2), torch.Generator().manual_seed(0), UNIT)
    batch = next(patches(pool, 8, 200, torch.Generator().manual_seed(1)))
    assert batch.context.shape == (200, 8, 8, 8)
    centre = batch.noisy.mean((1, 2, 3)).floor()
    for place, step in enumerate((-2, -1, 1, 2)):
        shown, mark = batch.context[:, place], batch.context[:, 4 + place]
        there = (centre + step >= 0) & (centre + step <= 5)
        assert torch.equal(mark.amin((1, 2)), there.float())
        assert torch.equal(mark.amax((1, 2)), there.float())
        expected = torch.where(there, centre + step, 0.0)
        assert torch.equal(shown.mean((1, 2)).floor(), expected)


def test_patches_and_neighbours_are_rotated_together() -> None:
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(24, 24))
    stack = np.stack([plane, plane, plane]).astype(np.float32)
    pool = load_pool(Planes(stack, "ZYX", context=1), torch.Generator().manual_seed(0), UNIT)
    batch = next(patches(pool, 8, 50, torch.Generator().manual_seed(1)))
    for number in (0, 1):
        there = batch.context[:, 2 + number, 0, 0] == 1
        assert there.any()
        assert torch.equal(batch.context[there, number], batch.noisy[there, 0])


def test_a_plane_is_read_once_for_all_its_neighbours(monkeypatch) -> None:
    stack = np.random.default_rng(0).normal(size=(7, 32, 32)).astype(np.float32)
    read, real = [], Planes.read

    def counting(self, sample, rows, columns):
        read.append(sample)
        return real(self, sample, rows, columns)

    monkeypatch.setattr(Planes, "read", counting)
    pool = load_pool(Planes(stack, "TYX", context=2), torch.Generator().manual_seed(0))
    assert sorted(read) == [(number,) for number in range(7)]
    assert len(pool.around) == 7


def test_a_blank_neighbour_counts_as_missing() -> None:
    stack = np.random.default_rng(0).normal(size=(3, 32, 32)).astype(np.float32)
    stack[1] = 0
    pool = load_pool(Planes(stack, "TYX", context=1), torch.Generator().manual_seed(0))
    assert len(pool.blocks) == 2
    assert all(around == (None, None) for around in pool.around)


def test_of_a_large_stack_a_part_is_read_with_neighbours() -> None:
    stack = np.random.default_rng(0).normal(size=(50, 32, 32)).astype(np.float32)
    planes = Planes(stack, "TYX", context=2)
    pool = load_pool(planes, torch.Generator().manual_seed(0), most_pixels=5 * 32 * 32 * 4)
    assert len(pool.blocks) == 4
    assert any(one is not None for around in pool.around for one in around)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_new_inputs_change_nothing_without_neighbours(kind: str, channels: int) -> None:
    before, after = small(kind, 0, channels), small(kind, 2, channels)
    network = built(before)
    wider = built(after, 1)
    wider.load_state_dict(with_context(network.state_dict(), before, after))
    image = torch.randn(2, channels, 24, 20)
    torch.testing.assert_close(wider(image).denoised, network(image).denoised)
    narrow = built(before, 2)
    narrow.load_state_dict(with_context(wider.state_dict(), after, before))
    torch.testing.assert_close(narrow(image).denoised, network(image).denoised)


def test_neighbours_keep_their_distance_in_other_weights() -> None:
    two, one = small(context=2), small(context=1)
    wide = built(two)
    narrow = built(one, 1)
    narrow.load_state_dict(with_context(wide.state_dict(), two, one))
    plane, around = torch.randn(1, 24, 24), [torch.randn(1, 24, 24) for _ in range(2)]
    seen = torch.cat([plane, context_of(around, plane)])[None]
    wider = torch.cat([plane, context_of([None, *around, None], plane)])[None]
    torch.testing.assert_close(narrow(seen).denoised, wide(wider).denoised)


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_change_the_result(kind: str) -> None:
    network, plane = built(small(kind)), torch.randn(1, 24, 24)
    around = [torch.randn(1, 24, 24) for _ in range(4)]

    def denoised(around):
        return network(torch.cat([plane, context_of(around, plane)])[None]).denoised

    assert not torch.allclose(denoised(around), denoised([None] * 4), atol=1e-3)
    assert not torch.allclose(denoised(around), denoised([*around[:3], None]), atol=1e-4)


@pytest.mark.parametrize("group", ["C4", "D4"])
def test_with_neighbours_rotations_by_90_degrees_are_exact(group: str) -> None:
    network = built(small("equivariant").model_copy(update={"group": group}))
    shown = torch.randn(1, small().inputs, 32, 32)
    expected = network(shown).denoised
    for quarters in (1, 2, 3):
        rotated = network(shown.rot90(quarters, (2, 3))).denoised
        error = (rotated - expected.rot90(quarters, (2, 3))).abs().max()
        assert error <= 1e-5 * expected.abs().max()


def test_tiles_of_a_stack_agree_with_the_whole() -> None:
    network = built(small())
    stack = np.random.default_rng(0).normal(size=(4, 150, 140)).astype(np.float32)
    planes = Planes(stack, "TYX", context=2)
    results = []
    for tile in (64, 1024):
        output = np.zeros_like(stack)
        for _ in predict(network, planes, UNIT, {"denoised": output}, tile=tile, halo=24):
            pass
        results.append(output)
    np.testing.assert_allclose(*results, atol=2e-5)
    alone = np.zeros_like(stack)
    for _ in predict(network, Planes(stack, "TYX"), UNIT, {"denoised": alone}, tile=1024, halo=24):
        pass
    assert abs(alone - results[0]).max() > 1e-3


def test_every_tile_is_prepared_once_for_its_neighbours(monkeypatch) -> None:
    network = built(small())
    stack = np.random.default_rng(0).normal(size=(9, 32, 32)).astype(np.float32)
    read, real = [], Planes.read

    def counting(self, sample, rows, columns):
        read.append(sample)
        return real(self, sample, rows, columns)

    monkeypatch.setattr(Planes, "read", counting)
    output = np.zeros_like(stack)
    planes = Planes(stack, "TYX", context=2)
    for _ in predict(network, planes, UNIT, {"denoised": output}, tile=1024, halo=24):
        pass
    # Once for its scale, once as what is denoised, and once as a neighbour of others.
    assert sorted(read) == sorted([(number,) for number in range(9)] * 3)


def test_prepared_tiles_have_a_bounded_size(monkeypatch) -> None:
    network = built(small())
    stack = np.random.default_rng(0).normal(size=(5, 64, 64)).astype(np.float32)
    planes = Planes(stack, "TYX", context=2)
    results, kept = [], []
    real = _predict._Context._tile

    def counting(self, *place):
        found = real(self, *place)
        kept.append(len(self._prepared))
        return found

    monkeypatch.setattr(_predict._Context, "_tile", counting)
    for most in (2**29, 1000):
        monkeypatch.setattr(_predict, "MOST_BYTES_PREPARED", most)
        kept.clear()
        output = np.zeros_like(stack)
        for _ in predict(network, planes, UNIT, {"denoised": output}, tile=72, halo=24):
            pass
        results.append((output, max(kept)))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    assert results[1][1] == 1 < results[0][1]


@pytest.fixture
def seeing(tiny: Config) -> Config:
    return tiny.replace({"network.context": 2, "objective.kind": "noise2self"})


def moving(frames: int = 6) -> np.ndarray:
    rng = np.random.default_rng(3)
    light = np.tile(20 + 10 * np.sin(np.arange(48) / 3), (48, 1))
    return rng.poisson(np.stack([np.roll(light, n, 1) for n in range(frames)])).astype(np.float32)


def test_a_model_of_a_stack_predicts_the_same_once_loaded(seeing: Config, tmp_path) -> None:
    movie = moving()
    model = Redenoiser(seeing, "cpu").fit(movie, "TYX")
    assert model.session.trained_plan().config.network.context == 2
    expected = model.predict(movie, "TYX").denoised
    again = Redenoiser.load(model.save(tmp_path / "model.safetensors"), "cpu")
    np.testing.assert_array_equal(again.predict(movie, "TYX").denoised, expected)
    alone = again.predict(movie[2], "YX").denoised
    assert alone.shape == (48, 48)
    assert abs(alone - expected[2]).max() > 0


def test_only_near_frames_change_a_frame(seeing: Config) -> None:
    movie = moving(8)
    model = Redenoiser(seeing, "cpu").fit(movie, "TYX")
    before = model.predict(movie, "TYX").denoised
    changed = movie.copy()
    changed[6] = np.random.default_rng(0).permutation(movie[6].ravel()).reshape(48, 48)
    after = model.predict(changed, "TYX").denoised
    moved = abs(after - before).max((1, 2))
    assert (moved[:4] == 0).all()
    assert (moved[4:] > 0).all()


@pytest.mark.parametrize(
    ("axes", "shape", "kind", "expected"),
    [
        ("TYX", (4, 48, 48), "auto", 2),
        ("ZYX", (4, 48, 48), "auto", 2),
        ("YX", (48, 48), "auto", 0),
        ("TYX", (1, 48, 48), "auto", 0),
        ("SYX", (4, 48, 48), "auto", 0),
        ("TYX", (4, 48, 48), "noise2noise", 0),
        ("TYX", (4, 48, 48), "neighbor2neighbor", 0),
    ],
)
def test_neighbours_are_seen_where_there_are_some(
    tiny: Config, axes: str, shape: tuple[int, ...], kind: str, expected: int
) -> None:
    image = np.random.default_rng(0).poisson(20, shape).astype(np.float32)
    config = tiny.replace({"objective.kind": kind, "training.steps": 1})
    assert config.network.context == "auto"
    model = Redenoiser(config, "cpu").fit(image, axes)
    assert model.session.trained_plan().config.network.context == expected


def test_a_resumed_training_sees_what_it_saw(tiny: Config) -> None:
    movie = moving()
    model = Redenoiser(tiny.replace({"network.context": "auto"}), "cpu").fit(movie, "TYX")
    model.fit(movie, "TYX", resume=True, steps=2)
    assert model.session.trained_plan().config.network.context == 2


def test_the_command_says_that_neighbours_are_used(redenoise, tmp_path) -> None:
    tifffile.imwrite(tmp_path / "movie.tif", moving(), metadata={"axes": "TYX"}, ome=True)
    small = "--from-scratch --steps 1 --set network.levels=2 --set network.encoder_width=8"
    small += " --set network.decoder_width=8 --set training.patch_size=16"
    movie, results = tmp_path / "movie.tif", []
    for name, words in (("a", ""), ("b", "--neighbours none"), ("c", "--neighbours auto")):
        out = tmp_path / f"{name}.tif"
        code, said, errors = redenoise("denoise", movie, out, *small.split(), *words.split())
        assert code == 0
        assert ("2 planes on either side" in said + errors) == (name != "b")
        results.append(tifffile.imread(out))
    np.testing.assert_array_equal(results[0], results[2])
    assert not np.array_equal(results[0], results[1])


def test_neighbours_are_compared_at_different_places() -> None:
    plane = np.random.default_rng(3).normal(100, 10, (400, 400))
    stack = Planes(np.repeat(plane[None], 6, 0), "TYX", context=2)
    windows = [noisy for noisy, _, _ in _windows([stack])]
    assert len(windows) == 6
    assert all(window.shape == (1, 1, 160, 160) for window in windows)
    pairs = itertools.combinations(windows, 2)
    assert not any(torch.equal(one, other) for one, other in pairs)
