"""What lasts one frame survives, and does not leak into its neighbours."""

import numpy as np
import pytest

from napari_redenoise import Config, Redenoiser

FRAME, FRAMES, SIDE = 3, 7, 96


def movie(photons: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Spots that light up in one frame: photon counts, still background, shape of the spots."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(float)
    still = 8 + 3 * np.sin(rows / 9) * np.cos(columns / 11)
    spots = sum(
        np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / 8)
        for row in (16, 48, 80)
        for column in (16, 48, 80)
    )
    expected = np.repeat(still[None], FRAMES, 0)
    expected[FRAME] += photons * spots
    return np.random.default_rng(0).poisson(expected).astype(np.float32), still, spots


def amplitudes(denoised: np.ndarray, still: np.ndarray, spots: np.ndarray) -> np.ndarray:
    """Amplitude of the spots in every frame, by least squares."""
    near = spots > 0.05
    return ((denoised - still)[:, near] * spots[near]).sum(1) / (spots[near] ** 2).sum()


@pytest.mark.parametrize("photons", [40.0, 100.0])
def test_a_blink_of_one_frame_stays_in_its_frame(photons: float) -> None:
    counts, still, spots = movie(photons)
    config = Config(training={"steps": 0}, network={"context": 2})
    model = Redenoiser(config, "cpu").fit(counts, "TYX")
    assert model.session.trained_plan().config.training.start == "pretrained"
    found = amplitudes(model.predict(counts, "TYX").denoised, still, spots) / photons
    assert found[FRAME] >= 0.9
    assert np.abs(np.delete(found, FRAME)).max() <= 0.05
