"""Neighbours are not used where their noise is in part that of the plane."""

import numpy as np
import pytest
from scipy import ndimage

from napari_redenoise import Config, Redenoiser
from napari_redenoise.data import Planes
from napari_redenoise.model._neighbours import ALIKE, NO_HELP, SHARED
from napari_redenoise.model._noise_reports import shares_noise


def movie(frames: int = 12, step: float = 3.0) -> np.ndarray:
    """Spots that move, over a still texture, in photons."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:96, :96].astype(float)
    texture = 4 * rng.random((96, 96))
    found = []
    for time in range(frames):
        spots = np.exp(-((rows - 48) ** 2 + (columns - 12 - step * time) ** 2) / 30)
        found.append(20 + texture + 60 * spots)
    return rng.poisson(np.stack(found)).astype(np.float32)


CHANGES = {
    "a running mean of two": lambda x: (x[1:] + x[:-1]) / 2,
    "a running mean of three": lambda x: ndimage.uniform_filter1d(x, 3, axis=0)[1:-1],
    "interpolated planes": lambda x: ndimage.zoom(x, (2, 1, 1), order=1),
    "splines": lambda x: ndimage.zoom(x, (1.5, 1, 1), order=3),
    "frames shown twice": lambda x: np.repeat(x, 2, axis=0),
    "a frame shown three times": lambda x: x[[0, 0, 0]],
    "a frame shown twice": lambda x: x[[0, 0]],
    "two means that share a frame": lambda x: (x[1:3] + x[:2]) / 2,
    "half of the last result": lambda x: ndimage.convolve1d(
        x, [0.5, 0.25, 0.125, 0.0625, 0.03125], axis=0, origin=-2
    ),
    "a running mean of 32": lambda x: ndimage.uniform_filter1d(
        np.concatenate([x, movie(40)]), 32, axis=0
    )[16:28],
}


@pytest.mark.parametrize("name", CHANGES)
def test_shared_noise_is_found(name: str) -> None:
    assert shares_noise(Planes(CHANGES[name](movie()), "ZYX", context=2))


@pytest.mark.parametrize(("axes", "frames"), [("TYX", 12), ("ZYX", 5), ("TYX", 2)])
def test_independent_noise_is_not(axes: str, frames: int) -> None:
    assert not shares_noise(Planes(movie(frames), axes, context=2))


def test_a_fixed_pattern_is_no_shared_noise() -> None:
    pattern = np.random.default_rng(2).normal(0, 10, (96, 96))
    assert not shares_noise(Planes(movie() + pattern, "TYX", context=2))


def test_one_of_two_axes_is_enough() -> None:
    stack = np.stack([movie(6), movie(6)[::-1] + 1])
    assert not shares_noise(Planes(stack[:1], "TZYX", context=2))
    averaged = (stack[:, 1:] + stack[:, :-1]) / 2
    assert shares_noise(Planes(averaged, "TZYX", context=2))


def test_gaps_have_no_noise_to_share() -> None:
    gaps = movie()
    gaps[:, :60] = 0
    assert not shares_noise(Planes(gaps, "TYX", context=2))


def test_the_plan_says_why_neighbours_are_not_used(tiny: Config) -> None:
    config = tiny.replace({"network.context": "auto"})
    averaged = CHANGES["a running mean of two"](movie())
    plan = Redenoiser(config, "cpu").plan(averaged, "TYX")
    assert plan.config.network.context == 0
    assert f"neighbours: not used, since {SHARED}" in list(plan.sentences())
    assert Redenoiser(config, "cpu").plan(averaged[[0, 0]], "TYX").no_neighbours == ALIKE
    others = Redenoiser(config, "cpu").plan(movie(), "TYX")
    assert others.no_neighbours == ""
    assert "neighbours: 2 planes on either side are used" in list(others.sentences())


def test_planes_that_have_nothing_in_common_are_denoised_alone() -> None:
    # Of the pretrained networks: that of stacks is compared with that of single planes.
    rows, columns = np.mgrid[:96, :96].astype(float)
    rng = np.random.default_rng(5)
    unlike = [
        4 + sum(30 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 12) for y, x in places)
        for places in rng.uniform(0, 96, (8, 12, 2))
    ]
    config = Config().replace({"training.steps": 0})
    contexts = [
        Redenoiser(config, "cpu").plan(rng.poisson(scene).astype(np.float32), "TYX")
        for scene in (np.stack([unlike[0]] * 8), np.stack(unlike))
    ]
    assert contexts[0].config.network.context == 2
    assert contexts[1].config.network.context == 0
    assert contexts[1].no_neighbours == NO_HELP


@pytest.mark.parametrize("axis", ["along x", "in the plane"])
def test_neighbours_are_used_where_noise_is_correlated(axis: str) -> None:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:96, :96].astype(float)
    places = rng.uniform(0, 96, (12, 2))
    still = 90 + sum(90 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 12) for y, x in places)
    blur = (0, 0, 0.7) if axis == "along x" else (0, 0.8, 0.8)
    noise = ndimage.gaussian_filter(rng.normal(0, 1, (8, 96, 96)), blur)
    movie = (still + 20 * noise / noise.std()).astype(np.float32)
    plan = Redenoiser(Config(), "cpu").plan(movie, "TYX")
    assert plan.config.objective.kind == "noise2void"
    assert plan.config.network.context == 2
