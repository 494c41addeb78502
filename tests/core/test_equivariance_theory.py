"""The theory of docs/equivariance.md, on meshes small enough for a test."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_redenoise.nn import CyclicGroup, LiftingConv2d
from napari_redenoise.nn.layers._basis import fourier_atoms

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import _continuum as continuum
import _curves as curves

MESHES = tuple(2.0**-n for n in range(6, 11))
FAR = (2.0**-11, 2.0**-12)
BOUND = 2 * np.sqrt(2)
"""Of the error of resampling over ``steepest gradient * mesh``: Theorem 1 of Liu et al. 2025."""


@pytest.fixture(scope="module")
def scene():
    return curves.Scene.random(32)


def test_a_picture_is_sampled_at_turned_points(scene):
    image, matrix = scene.image, CyclicGroup(8).coordinate_maps[1]
    got = image.patches(scene.centres, 4, 0.01, matrix)
    # Closed form at one pixel: row 3, column 0 of the fifth patch.
    point = scene.centres[5] + matrix @ np.array([-0.015, 0.015])
    expected = (image.amplitudes * np.cos(image.waves @ point + image.phases)).sum()
    assert got.shape == (32, 1, 4, 4)
    assert float(got[5, 0, 3, 0]) == pytest.approx(expected, rel=1e-12)


def test_fine_filters_are_those_of_the_package_where_both_are_defined():
    group = CyclicGroup(8)
    expected = fourier_atoms(5, group).reshape(8, 25, -1)
    got = continuum.fine_basis(5, group, "soft disc, cut to a square", 1.0).numpy()
    np.testing.assert_allclose(got, expected.transpose(0, 2, 1), atol=1e-12)


@pytest.mark.parametrize(("window", "power"), [("(1 − r²)¹", 1), ("(1 − r²)²", 2)])
def test_a_convolution_of_fixed_size_converges_as_predicted(scene, window, power):
    curve = curves.convolution_of_fixed_size(scene, window, range(6, 25))
    assert curve.order == pytest.approx(continuum.predicted_order(power), abs=0.5)
    assert curve.order > 1.7
    assert curve.errors[-1] < 1e-3


def test_a_network_of_fixed_size_is_at_least_of_second_order(scene):
    few = curves.Scene(scene.image, scene.centres[:8])
    curve = curves.network_of_fixed_size(few, "(1 − r²)²", (3, 4, 5, 6, 8))
    assert 1.7 < curve.order < 4.5
    assert curve.errors[-1] < 0.01


def test_max_pooling_leaves_a_network_of_first_order(scene):
    few = curves.Scene(scene.image, scene.centres[:8])
    curve = curves.network_of_fixed_size(few, "(1 − r²)²", (8, 10, 12, 14), pool_after=1)
    assert 0.5 < curve.order < 1.7


def test_a_sharp_square_does_not_converge(scene):
    curve = curves.convolution_of_fixed_size(scene, "soft disc, cut to a square", (8, 16, 24))
    assert min(curve.errors) > 0.02


@pytest.mark.parametrize("kinds", [(LiftingConv2d,), curves.FEATURES])
@pytest.mark.parametrize("size", [3, 5])
def test_filters_of_fixed_pixels_end_on_a_plateau(scene, kinds, size):
    curve = curves.features_of_fixed_pixels(scene, FAR, kinds, size)
    coarse, fine = curve.errors
    assert fine > 0.02
    assert fine / coarse == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("kinds", [(LiftingConv2d,), curves.FEATURES])
def test_quarter_turns_are_exact_on_every_mesh(scene, kinds):
    for size in (3, 5):
        pixels = curves.features_of_fixed_pixels(scene, MESHES, kinds, size, curves.QUARTER)
        assert max(pixels.errors) < 1e-12
    assert max(curves.convolution_of_fixed_size(scene, "(1 − r²)²", (4, 8), 2).errors) < 1e-12


@pytest.mark.parametrize(
    ("name", "element"),
    [
        ("max pooling, block around the centre", curves.EIGHTH),
        ("max pooling, odd size", curves.EIGHTH),
        ("max pooling, odd size", curves.QUARTER),
        ("stride 2", curves.EIGHTH),
        ("stride 2", curves.QUARTER),
        ("nearest upsampling", curves.EIGHTH),
    ],
)
def test_resampling_is_of_first_order_and_within_the_bound(scene, name, element):
    curve = curves.resampling(scene, name, MESHES, element)
    assert curve.order == pytest.approx(1, abs=0.1)
    assert 0.1 < curve.largest <= BOUND


@pytest.mark.parametrize("name", ["max pooling, block around the centre", "nearest upsampling"])
def test_resampling_is_exact_for_quarter_turns_of_even_sizes(scene, name):
    assert max(curves.resampling(scene, name, MESHES, curves.QUARTER).errors) < 1e-12


def test_average_pooling_is_of_fourth_order(scene):
    # cos(a h / 2) cos(b h / 2) depends on the direction of (a, b) from its terms in h^4 on.
    curve = curves.resampling(
        scene, "average pooling, block around the centre", MESHES, curves.EIGHTH
    )
    assert curve.order == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize(("kind", "order"), [("standard", 1), ("C4", 4), ("C8", 4)])
def test_pictures_flatten_at_the_scale_of_a_pixel(scene, kind, order):
    positive = curves.Scene.random(32, curves.OFFSET)
    curve = curves.pictures_of_fixed_pixels(positive, MESHES[2:], kind, curves.EIGHTH)
    assert curve.order == pytest.approx(order, abs=0.1)


def test_slopes_are_fitted_on_the_finest_meshes():
    meshes = np.geomspace(1e-4, 1, 60)
    assert continuum.slope(meshes, 3 * meshes**2.5) == pytest.approx(2.5)
    bent = np.where(meshes > 1e-3, 5.0, meshes)
    assert continuum.last_slope(meshes, bent) == pytest.approx(1)


def test_the_picture_of_a_benchmark_is_band_limited():
    image = continuum.WaveImage.random(np.random.default_rng(1))
    assert np.linalg.norm(image.waves, axis=1).max() <= np.pi / continuum.SUPPORT
    assert image.patches(np.zeros((1, 2)), 2, 0.1).dtype == torch.float64
