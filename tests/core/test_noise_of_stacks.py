"""The noise of stacks: differences of successive planes hold no structure where nothing moves."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from skimage import data

from napari_redenoise import measure_noise
from napari_redenoise.noise import NoiseReport, describe, estimate_noise

GAIN, OFFSET, READ_NOISE = 7.0, 100.0, 3.0


def textured(frames: int = 6, step: int = 0, decay: float = 1.0) -> np.ndarray:
    """Grass, in every block, under photon and read noise."""
    rng = np.random.default_rng(3)
    photons = data.grass()[:192, :192] / 255 * 40
    still = [np.roll(photons, step * number, 1) * decay**number for number in range(frames)]
    counts = rng.poisson(np.stack(still)) + rng.normal(0, READ_NOISE, (frames, 192, 192))
    return (OFFSET + GAIN * counts).astype(np.float32)


@pytest.mark.parametrize("decay", [1.0, 0.97])
def test_texture_that_does_not_move_is_no_noise(decay: float) -> None:
    movie = textured(decay=decay)
    (report,) = measure_noise(movie, "TYX")
    alone = estimate_noise(movie)
    assert alone.homogeneous < 0.15
    assert report.homogeneous > 0.7
    assert report.model.gain == pytest.approx(GAIN, rel=0.12)
    assert report.gain_error < alone.gain_error / 2
    photons = data.grass()[:192, :192].mean() / 255 * 40 * np.mean(decay ** np.arange(6))
    assert report.noise_std == pytest.approx(GAIN * np.sqrt(photons + READ_NOISE**2), rel=0.02)


def test_moving_texture_is_left_out() -> None:
    movie = textured(step=3)
    pairs = [(number, number + 1) for number in range(5)]
    moving, alone = estimate_noise(movie, pairs), estimate_noise(movie)
    assert moving.model.gain == pytest.approx(alone.model.gain, rel=0.35)
    assert moving.noise_std == pytest.approx(alone.noise_std, rel=0.05)


def test_other_samples_are_not_compared() -> None:
    movie = textured()
    (report,) = measure_noise(movie, "SYX")
    assert report == estimate_noise(movie)


def test_averaged_planes_are_not_compared() -> None:
    movie = textured(8)
    averaged = (movie[1:] + movie[:-1]) / 2
    (report,) = measure_noise(averaged, "TYX")
    assert report.homogeneous == estimate_noise(averaged).homogeneous


def frozen(frames: int) -> np.ndarray:
    """A still scene of 20 frames; the first ones are the same, noise and all."""
    scene = 30 + 10 * np.sin(np.arange(96) / 9) * np.ones((96, 1))
    movie = np.random.default_rng(6).poisson(scene, (20, 96, 96)).astype(np.float32)
    movie[:frames] = movie[0]
    return movie


@pytest.mark.parametrize("frames", [10, 15])
def test_a_frozen_stretch_is_not_without_noise(frames: int) -> None:
    pairs = [(number, number + 1) for number in range(19)]
    for found in (estimate_noise(frozen(frames), pairs), *measure_noise(frozen(frames), "TYX")):
        assert found.noise_std == pytest.approx(np.sqrt(30), rel=0.05)
        assert found.model.gain == pytest.approx(1, rel=0.15)
    assert measure_noise(frozen(frames), "TYX")[0].planes == "shared"


def test_a_few_equal_frames_share_no_noise() -> None:
    assert measure_noise(frozen(3), "TYX")[0].planes == "independent"


def test_of_two_axes_frames_are_compared() -> None:
    movie = textured(4)
    stack = np.stack([movie, movie[:, :, ::-1]], 1)
    assert measure_noise(stack, "TZYX")[0].homogeneous > 0.7
    assert measure_noise(stack.swapaxes(0, 1), "ZTYX")[0].homogeneous > 0.7


def test_line_offsets_of_all_frames_are_still_found() -> None:
    offsets = np.random.default_rng(4).normal(0, 15, (192, 1))
    rows, columns = np.mgrid[:192, :192]
    smooth = 20 + 10 * np.sin(rows / 30) * np.cos(columns / 25)
    counts = np.random.default_rng(5).poisson(smooth, (6, 192, 192))
    (report,) = measure_noise(GAIN * counts + offsets, "TYX")
    assert report.autocorrelation.rows > 0.2


def words(stack: np.ndarray, axes: str = "TYX") -> str:
    (report,) = measure_noise(stack.astype(np.float32), axes)
    return " ".join(finding.text for finding in describe(report))


def correlated(frames: int = 8) -> np.ndarray:
    """A still scene under noise that is correlated within the plane alone."""
    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.normal(0, 30, (frames, 128, 128)), (0, 0, 0.7))
    return 200 + 40 * np.sin(np.arange(128) / 9) + noise


def test_neighbours_are_recommended_for_correlated_noise() -> None:
    movie = correlated()
    said = "the correlation costs less with neighbours"
    assert said in words(movie)
    # Not without neighbours, of white noise, nor where the noise is in part the same.
    assert said not in words(movie, "SYX")
    assert said not in words(movie[:1])
    assert said not in words(textured())
    assert said not in words(np.repeat(movie, 2, axis=0))


def test_the_noise_check_says_that_planes_share_noise() -> None:
    said = "Neighbouring planes share noise"
    movie = correlated()
    for shared in ((movie[1:] + movie[:-1]) / 2, np.repeat(movie, 2, axis=0)):
        assert said in words(shared)
        assert said not in words(shared, "SYX")
    assert said not in words(movie)


def test_two_planes_do_not_tell_texture_from_noise() -> None:
    grass = data.grass()[:96, :96] / 255 * 500 + 50
    movie = np.random.default_rng(1).poisson(grass, (4, 96, 96))
    (alike,), (independent,) = (measure_noise(some, "TYX") for some in (movie[:2], movie))
    assert (alike.planes, independent.planes) == ("alike", "independent")
    texts = [finding.text for finding in describe(replace(alike, residual=None))]
    assert any("which two planes do not tell apart" in text for text in texts)
    assert NoiseReport.from_json(alike.as_json()) == alike


def test_what_is_measured_between_planes_is_kept_with_a_plan() -> None:
    (report,) = measure_noise(correlated().astype(np.float32), "TYX")
    assert report.planes == "independent"
    assert NoiseReport.from_json(report.as_json()) == report
