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
import _seeds as seeds

MESHES = tuple(2.0**-n for n in range(6, 11))
FAR = (2.0**-11, 2.0**-12)
BOUND = 2 * np.sqrt(2)
"""Of the error of resampling over ``steepest gradient * mesh``: Theorem 1 of Liu et al. 2025."""


@pytest.fixture(scope="module")
def scene():
    return curves.Scene.random(32)


def test_an_image_is_sampled_at_rotated_points(scene):
    image, matrix = scene.image, CyclicGroup(8).coordinate_maps[1]
    got = image.patches(scene.centres, 4, 0.01, matrix)
    # Closed form at one pixel: row 3, column 0 of the fifth patch.
    point = scene.centres[5] + matrix @ np.array([-0.015, 0.015])
    expected = (image.amplitudes * np.cos(image.waves @ point + image.phases)).sum()
    assert got.shape == (32, 1, 4, 4)
    assert float(got[5, 0, 3, 0]) == pytest.approx(expected, rel=1e-12)


def test_fine_filters_equal_those_of_the_package():
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
def test_rotations_by_90_degrees_are_exact_on_every_mesh(scene, kinds):
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
def test_resampling_is_exact_for_90_degrees_on_even_sizes(scene, name):
    assert max(curves.resampling(scene, name, MESHES, curves.QUARTER).errors) < 1e-12


def test_average_pooling_is_of_fourth_order(scene):
    # cos(a h / 2) cos(b h / 2) depends on the direction of (a, b) from its terms in h^4 on.
    curve = curves.resampling(
        scene, "average pooling, block around the centre", MESHES, curves.EIGHTH
    )
    assert curve.order == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize(("kind", "order"), [("standard", 1), ("C4", 4), ("C8", 4)])
def test_positive_images_flatten_at_the_scale_of_a_pixel(scene, kind, order):
    positive = curves.Scene.random(32, curves.OFFSET)
    curve = curves.pictures_of_fixed_pixels(positive, MESHES[2:], kind, curves.EIGHTH)
    assert curve.order == pytest.approx(order, abs=0.1)


@pytest.fixture(scope="module")
def spreads():
    """Errors at 45 degrees of images of zero mean, shortest wavelength 4 pixels, by network."""
    scene = curves.Scene.random(64)
    return {
        (kind, size): [
            curves.pictures_of_fixed_pixels(
                scene, (1 / 16,), kind, curves.EIGHTH, size, seed
            ).errors[0]
            for seed in range(8)
        ]
        for kind, size in (("standard", 3), ("C4", 3), ("C8", 3), ("C4", 5), ("C8", 5))
    }


def test_only_c8_with_5_pixel_filters_rotates_well_by_45_degrees(spreads):
    best = spreads["C8", 5]
    others = [errors for errors in spreads.values() if errors is not best]
    assert all(max(best) < np.median(errors) for errors in others)
    assert np.median(best) < 0.25


def test_images_of_zero_mean_do_not_reach_the_fourth_order():
    # Kinks on curves: a share h of the pixels errs by h, whose root mean square is h^1.5.
    scene = curves.Scene.random(256)
    found = curves.Spread(
        tuple(
            curves.pictures_of_fixed_pixels(scene, MESHES[:4], "C4", curves.EIGHTH, 3, seed)
            for seed in range(4)
        )
    )
    assert 0.8 < found.median.order < 2.2


def test_the_median_over_seeds_is_taken_mesh_by_mesh():
    made = [curves.Curve((0.5, 0.25), pair) for pair in ((1.0, 9.0), (2.0, 7.0), (6.0, 8.0))]
    spread = curves.Spread(tuple(made))
    assert spread.median.errors == (2.0, 8.0)
    assert spread.coarsest == [1.0, 2.0, 6.0]


@pytest.mark.parametrize("kernel", [3, 5])
def test_features_are_exact_at_90_degrees_for_every_seed(kernel):
    coins = seeds.feature_maps.coins()
    for seed in (1, 5):
        rows = seeds.feature_maps.rows_of(coins, 64, seed, kernel)
        errors = seeds.feature_maps.errors(rows, 64)
        assert errors["F-Conv", 90] < 1e-4
        assert errors["ordinary", 90] > 0.2
        assert errors["F-Conv", 45] > 0.1


def test_the_table_over_seeds_says_median_range_and_wins():
    errors = {
        name: {angle: np.array(values) for angle in (90, 45)}
        for name, values in zip(
            seeds.NETWORKS, ([0.2, 0.4, 0.9], [0.3, 0.1, 0.5], [0.9, 0.9, 0.1]), strict=True
        )
    }
    last = seeds.tabulated([seeds.Features("blurred", errors)]).splitlines()
    assert last[2].endswith("| 40.0% (20.0% to 90.0%) |  |")
    assert last[3] == (
        "| blurred | F-Conv, 3 × 3 | 30.0% (10.0% to 50.0%) | 30.0% (10.0% to 50.0%) | 2 of 3 |"
    )
    assert last[4].endswith("| 1 of 3 |")


def test_slopes_are_fitted_on_the_finest_meshes():
    meshes = np.geomspace(1e-4, 1, 60)
    assert continuum.slope(meshes, 3 * meshes**2.5) == pytest.approx(2.5)
    bent = np.where(meshes > 1e-3, 5.0, meshes)
    assert continuum.last_slope(meshes, bent) == pytest.approx(1)


def test_the_image_of_a_benchmark_is_band_limited():
    image = continuum.WaveImage.random(np.random.default_rng(1))
    assert np.linalg.norm(image.waves, axis=1).max() <= np.pi / continuum.SUPPORT
    assert image.patches(np.zeros((1, 2)), 2, 0.1).dtype == torch.float64
