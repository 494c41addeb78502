"""Quality checks of stacks: brightness from plane to plane, and smeared motion."""

import numpy as np
import pytest
from scipy import ndimage

from napari_redenoise.assessment import QualityReport, _stack, assess

FRAMES, SIDE, PHOTONS = 8, 96, 40.0


def moving(step: float = 5.0) -> np.ndarray:
    """Expected photons of smooth structure over which bright spots move."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(float)
    still = 0.3 + 0.1 * np.sin(rows / 9) * np.cos(columns / 11)
    frames = []
    for time in range(FRAMES):
        spots = np.zeros((SIDE, SIDE))
        for row in range(12, SIDE, 24):
            place = 12 + step * time
            spots += np.exp(-((rows - row) ** 2 + (columns - place) ** 2) / (2 * 2.5**2))
        frames.append(still + spots)
    return PHOTONS * np.stack(frames)


def recorded(expected: np.ndarray) -> np.ndarray:
    return np.random.default_rng(5).poisson(expected).astype(np.float32)


def smooth(window: np.ndarray) -> np.ndarray:
    """A denoiser of single planes that keeps the spots."""
    return ndimage.gaussian_filter(window, (0, 1.0, 1.0))


def checks(noisy: np.ndarray, denoised: np.ndarray, axes: str = "TYX", **options) -> QualityReport:
    return assess(noisy, denoised.astype(np.float32), axes, **options)


def mark(report: QualityReport, name: str) -> str:
    return next(check.mark for check in report.checks if check.name == name)


def test_a_right_result_passes() -> None:
    expected = moving()
    report = checks(recorded(expected), expected, denoiser=smooth)
    assert mark(report, "Residual between planes") == "good"
    assert mark(report, "Smearing between planes") == "good"


def test_single_images_have_no_such_checks() -> None:
    expected = moving()
    names = [check.name for check in checks(recorded(expected)[0], expected[0], "YX").checks]
    assert "Residual between planes" not in names
    assert "Residual between planes" not in [
        check.name for check in checks(recorded(expected), expected, "SYX").checks
    ]


@pytest.mark.parametrize(("change", "expected_mark"), [(0.001, "good"), (0.005, "caution")])
def test_flicker_is_found(change: float, expected_mark: str) -> None:
    expected = moving(0)
    noisy = recorded(expected)
    span = float(np.ptp(np.percentile(noisy, (0.1, 99.9))))
    signs = np.where(np.arange(FRAMES) % 2, 1.0, -1.0)
    flickering = expected + change * span * signs[:, None, None]
    assert mark(checks(noisy, flickering), "Residual between planes") == expected_mark


def test_structure_removed_from_all_planes_is_found() -> None:
    expected = moving(0)
    without = ndimage.gaussian_filter(expected, (0, 4, 4))
    assert mark(checks(recorded(expected), without), "Residual between planes") == "bad"


@pytest.mark.parametrize("axis", [1, 2])
def test_fixed_line_offsets_are_no_structure(axis: int) -> None:
    expected = moving(0)
    shape = [1, SIDE if axis == 1 else 1, SIDE if axis == 2 else 1]
    offsets = np.random.default_rng(3).normal(0, 0.4 * PHOTONS**0.5, shape)
    noisy = recorded(expected) + offsets.astype(np.float32)
    assert mark(checks(noisy, expected), "Residual between planes") == "good"
    without = ndimage.gaussian_filter(expected, (0, 4, 4))
    assert mark(checks(noisy, without), "Residual between planes") == "bad"


def test_smeared_motion_is_found_and_its_plane_named() -> None:
    expected = moving()
    mean = ndimage.uniform_filter1d(expected, 3, axis=0, mode="nearest")
    smeared = expected.copy()
    smeared[4] = mean[4]
    report = checks(recorded(expected), smeared, denoiser=smooth)
    check = next(one for one in report.checks if one.name == "Smearing between planes")
    assert check.mark == "bad"
    assert "plane 4 along T" in check.figure


def test_smearing_far_from_the_middle_is_found(monkeypatch) -> None:
    monkeypatch.setattr(_stack, "SIDE", 48)
    expected = moving()
    mean = ndimage.uniform_filter1d(expected, 3, axis=0, mode="nearest")
    smeared = expected.copy()
    smeared[:, :22] = mean[:, :22]
    report = checks(recorded(expected), smeared, denoiser=smooth)
    assert mark(report, "Smearing between planes") == "bad"


def test_uneven_shifts_within_planes_are_no_flicker(monkeypatch) -> None:
    monkeypatch.setattr(_stack, "SIDE", 48)
    expected = moving(0)
    slope = np.linspace(-1, 1, SIDE)[:, None]
    report = checks(recorded(expected), expected + slope)
    figure = next(one.figure for one in report.checks if one.name == "Residual between planes")
    assert "varies by 0.0" in figure


def test_a_blurred_plane_alone_is_no_smearing() -> None:
    expected = moving()
    blurred = ndimage.gaussian_filter(expected, (0, 1.0, 1.0))
    report = checks(recorded(expected), blurred, denoiser=smooth)
    assert mark(report, "Smearing between planes") == "good"


def test_without_a_denoiser_smearing_is_not_checked() -> None:
    expected = moving()
    report = checks(recorded(expected), expected)
    assert mark(report, "Smearing between planes") == "unknown"
    assert "Smearing between planes" in report.omitted


@pytest.mark.parametrize("frame", [13, 27])
def test_an_event_of_one_frame_is_looked_for(frame: int) -> None:
    expected = np.repeat(moving(0)[:1], 40, axis=0)
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(float)
    flash = np.exp(-((rows - 48) ** 2 + (columns - 60) ** 2) / (2 * 4.0**2))
    happened = expected.copy()
    happened[frame] += PHOTONS * flash
    report = checks(recorded(happened), expected, denoiser=smooth)
    check = next(one for one in report.checks if one.name == "Smearing between planes")
    assert check.mark in ("caution", "bad")
    assert f"plane {frame} along T" in check.figure
