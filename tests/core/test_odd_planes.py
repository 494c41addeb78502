"""One plane that is unlike the others costs nobody anything, and every mean is kept."""

from functools import cache

import numpy as np
import pytest
from skimage import data

from napari_redenoise import Config, Redenoiser

ODD, SIDE, PEAK = 3, 96, 20.0


@cache
def still() -> np.ndarray:
    """Photons that are expected of six equal planes."""
    photo = data.camera()[100 : 100 + SIDE, 200 : 200 + SIDE].astype(float)
    return np.stack([PEAK * photo / photo.max()] * 6)


def changed(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Noisy planes, one of them odd, and what is expected of them."""
    expected = still().copy()
    if name == "flash":
        expected[ODD] += PEAK
    if name == "bright spot":
        expected[ODD, 40:52, 40:52] += 5 * PEAK
    expected[ODD] *= {"ten times": 10, "a tenth": 0.1}.get(name, 1)
    if name == "bleaching":
        expected *= 0.95 ** np.arange(6)[:, None, None]
    noisy = np.random.default_rng(0).poisson(expected).astype(np.float32)
    if name in ("black", "NaN", "constant"):
        noisy[ODD] = expected[ODD] = {"black": 0, "NaN": np.nan, "constant": 7}[name]
    return noisy, expected


NAMES = (
    "flash",
    "bright spot",
    "ten times",
    "a tenth",
    "black",
    "NaN",
    "constant",
    "bleaching",
)


@pytest.mark.parametrize("name", NAMES)
def test_an_odd_plane_costs_its_neighbours_nothing(name: str) -> None:
    noisy, expected = changed(name)
    results = []
    for context in (0, 2):
        config = Config(network={"context": context}, training={"steps": 0})
        model = Redenoiser(config, "cpu").fit(noisy, "TYX")
        results.append(model.predict(noisy, "TYX").denoised.astype(float))
    if name in ("black", "NaN", "constant"):
        np.testing.assert_array_equal(results[1][ODD], noisy[ODD])
    known = [number for number in range(6) if np.ptp(noisy[number]) > 0]
    alone, beside = (((one - expected)[known] ** 2).mean((1, 2)) for one in results)
    gained = dict(zip(known, 10 * np.log10(alone / beside), strict=True))
    beside_it = {number: gain for number, gain in gained.items() if number != ODD}
    assert min(beside_it.values()) > -0.05, gained
    # The network for stacks is older than that for single planes, which has gained 0.07 dB here.
    assert gained.get(ODD, 0) > -0.15, gained
    # Brightness stays in its plane.
    low, high = np.percentile(noisy[known], (0.1, 99.9))
    shift = (results[1] - noisy)[known].mean((1, 2)) / (high - low)
    assert abs(shift).max() < 0.002, shift
