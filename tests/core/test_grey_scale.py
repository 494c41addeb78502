"""Grey levels that floating-point numbers do not resolve or hold are refused in words."""

import numpy as np
import pytest

from napari_redenoise import Config, Redenoiser
from napari_redenoise.errors import InputError
from napari_redenoise.noise import estimate_noise

COUNTS = np.random.default_rng(0).poisson(50, (48, 48))
EXTREME = {
    "offset of 2**60": COUNTS + 2**60,
    "offset of uint64": COUNTS.astype(np.uint64) + np.uint64(2**64 - 200),
    "1e100": COUNTS * 1e100,
    "1e-100": COUNTS * 1e-100,
    "beyond float32": COUNTS * 1e38,
}


@pytest.mark.parametrize("start", ["pretrained", "random"])
@pytest.mark.parametrize("name", EXTREME)
def test_extreme_grey_levels_are_refused(name: str, start: str) -> None:
    config = Config().replace({"training.steps": 1, "training.start": start})
    with pytest.raises(InputError, match="rescale them"):
        Redenoiser(config, "cpu").fit(EXTREME[name])


@pytest.mark.parametrize("name", EXTREME)
def test_their_noise_is_not_measured(name: str) -> None:
    with pytest.raises(InputError, match=r"subtract an offset|every pixel"):
        estimate_noise(EXTREME[name])


def test_bfloat16_spares_the_dim_part_beside_a_bright_object() -> None:
    rows, columns = np.mgrid[:96, :96]
    bright = (rows - 48) ** 2 + (columns - 48) ** 2 < 400
    image = np.random.default_rng(0).poisson(10 + 5000 * bright).astype(np.uint16)
    found = [
        Redenoiser(Config(training={"steps": 0}, tiling={"precision": one}), "cpu")
        .fit(image)
        .predict(image)
        .denoised[~bright]
        for one in ("float32", "bfloat16")
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


@pytest.mark.parametrize(("photons", "side"), [(0.05, 2), (0.02, 4), (0.003, 8)])
def test_few_photons_are_said(photons: float, side: int) -> None:
    dim = np.random.default_rng(0).poisson(photons, (96, 96))
    said = list(Redenoiser(Config(training={"steps": 0}), "cpu").plan(dim).sentences())
    (caution,) = (one for one in said if one.startswith("caution: so few pixels count a photon"))
    assert caution.endswith(f"sum frames, or bin {side} x {side} pixels")


def test_binned_few_photons_keep_their_light() -> None:
    truth = np.full((256, 256), 0.02)
    truth[64:192, 64:192] = 0.06
    dim = np.random.default_rng(0).poisson(truth)
    binned = dim.reshape(64, 4, 64, 4).sum((1, 3))
    denoised = Redenoiser(Config(training={"steps": 0}), "cpu").fit(binned).predict(binned).denoised
    assert denoised.sum() == pytest.approx(dim.sum(), rel=0.03)


def test_enough_photons_are_not_said() -> None:
    bright = np.random.default_rng(0).poisson(0.3, (96, 96))
    assert not any(
        "photon" in one
        for one in Redenoiser(Config(training={"steps": 0}), "cpu").plan(bright).sentences()
    )


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_large_and_small_scales_change_nothing_else(scale: float) -> None:
    model = Redenoiser(Config(training={"steps": 0}), "cpu")
    plain = model.fit(COUNTS.astype(float)).predict(COUNTS.astype(float)).denoised
    scaled = model.fit(COUNTS * scale).predict(COUNTS * scale).denoised
    np.testing.assert_allclose(np.asarray(scaled, float) / scale, plain, rtol=1e-4)


def test_one_pixel_may_hold_any_value() -> None:
    image = COUNTS.astype(float)
    image[5, 5] = 1e300
    denoised = Redenoiser(Config(training={"steps": 0}), "cpu").fit(image).predict(image).denoised
    assert np.abs(np.delete(denoised, 5, 0) - 50).max() < 20
