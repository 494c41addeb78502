import dataclasses

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_redenoise import Redenoiser
from napari_redenoise.assessment._equivariance import equivariance, percent
from napari_redenoise.errors import ConfigError, InputError
from napari_redenoise.inference import Interrupted
from napari_redenoise.model._previews import Window
from napari_redenoise.nn import CyclicGroup
from napari_redenoise.nn.testing import equivariance_error

ELEMENTS = {90: 1, 180: 2, 270: 3}


@pytest.fixture
def model(tiny, noisy):
    return Redenoiser(tiny, device="cpu").fit(noisy)


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_the_equivariant_branch_has_no_error(model, noisy, angle):
    errors = equivariance(model, noisy, angle=angle).errors
    assert errors["equivariant"] < 1e-5
    assert errors["standard"] > 0.01
    assert errors["denoised"] > 0.01


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_the_error_is_that_of_the_network_without_the_offset(model, noisy, angle):
    # Independent: rotation of tensors by nn.testing, of a network called directly.
    network, normalisation = model.session.network(), model.session.normalisation
    x = torch.from_numpy(normalisation.apply(noisy[None]))[None]
    plain = equivariance_error(lambda t: network(t).standard, x, CyclicGroup(4), ELEMENTS[angle])
    with torch.no_grad():
        output = network(x).standard
    expected = plain * float(output.norm() / (output - output.mean()).norm())
    assert equivariance(model, noisy, angle=angle).errors["standard"] == pytest.approx(
        expected, rel=1e-3
    )


def test_random_draws_do_not_add_to_the_error(tiny, noisy):
    config = tiny.replace({"network.kind": "equivariant", "objective.kind": "r2r"})
    noise = {"gain": (1.0,), "offset": (0.0,), "read_noise": (0.0,)}
    model = Redenoiser(config.replace({"objective.noise": noise}), device="cpu").fit(noisy)
    assert equivariance(model, noisy).errors["denoised"] < 1e-5
    # The draws do not rotate with the image, which would raise the error.
    rotated = np.rot90(model.predict(np.rot90(noisy)).denoised, -1)
    original = model.predict(noisy).denoised
    assert np.linalg.norm(rotated - original) > 0.01 * np.linalg.norm(original - original.mean())


def test_a_map_is_the_difference_in_pixels_of_the_image(model, noisy):
    result = equivariance(model, noisy)
    original = model.predict(noisy, branches=True, tta=False, draws=0, corrections=False)
    rotated = model.predict(np.rot90(noisy), branches=True, tta=False, draws=0, corrections=False)
    for name in ("standard", "equivariant", "denoised"):
        expected = np.abs(np.rot90(getattr(rotated, name), -1) - getattr(original, name))
        np.testing.assert_allclose(result.differences[name], expected, atol=1e-3)
        assert result.differences[name].dtype == np.float32
    assert result.interpolation is None


def test_the_identity_is_equivariant(model, noisy, monkeypatch):
    def copy(self, image, axes=None, *, outputs, **_):
        for array in outputs.values():
            array[...] = image
        yield from ()

    monkeypatch.setattr(Redenoiser, "predict_events", copy)
    assert set(equivariance(model, noisy).errors.values()) == {0.0}
    result = equivariance(model, noisy, angle=45)
    # The identity differs by interpolation alone.
    for error in result.errors.values():
        assert error == pytest.approx(result.interpolation, rel=1e-5)


def test_interpolation_is_measured_on_the_noisy_image(model, noisy):
    image = np.pad(noisy, ((0, 0), (8, 8)), mode="reflect")
    result = equivariance(model, image, angle=45)
    x = image.astype(float)
    forth = ndimage.rotate(x, 45, reshape=False, order=3, mode="mirror")
    back = ndimage.rotate(forth, -45, reshape=False, order=3, mode="mirror")
    y, z = np.mgrid[:70, :70] - 34.5
    inside = np.hypot(y, z) <= 34
    expected = np.linalg.norm((back - x)[inside]) / np.linalg.norm((x - x[inside].mean())[inside])
    assert result.interpolation == pytest.approx(expected, rel=1e-4)
    for shown in result.differences.values():
        np.testing.assert_array_equal(np.isfinite(shown), inside)


def test_a_denoiser_can_be_far_below_the_interpolation_error(model, monkeypatch):
    clean = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(96, 96)), 6)
    noise = np.random.default_rng(1).normal(0, clean.std(), clean.shape)
    noisy = (clean + noise).astype(np.float32)

    def smooth(self, image, axes=None, *, outputs, **_):
        for array in outputs.values():
            array[...] = ndimage.gaussian_filter(image, (0, 3, 3))
        yield from ()

    monkeypatch.setattr(Redenoiser, "predict_events", smooth)
    result = equivariance(model, noisy, angle=45)
    assert result.interpolation > 0.2
    assert result.errors["denoised"] < 0.1 * result.interpolation
    said = " ".join(result.sentences())
    assert "A denoiser can be far below it" in said


def test_positive_angles_rotate_counter_clockwise(model, noisy, monkeypatch):
    seen = []
    original = Redenoiser.predict_events

    def watch(self, image, *args, **keywords):
        seen.append(image[0])
        yield from original(self, image, *args, **keywords)

    monkeypatch.setattr(Redenoiser, "predict_events", watch)
    square = noisy[:54]
    equivariance(model, square)
    # A degree less than 90, interpolated, is nearly the same image.
    smooth = ndimage.gaussian_filter(square.astype(float), 3)
    equivariance(model, smooth, angle=89.9)
    np.testing.assert_array_equal(seen[1], np.rot90(square))
    difference = seen[3] - np.rot90(smooth)
    assert np.abs(difference)[8:-8, 8:-8].max() < 0.1 * smooth.std()


def test_an_odd_side_is_cropped_by_a_pixel(model, noisy):
    result = equivariance(model, noisy[:69, :53])
    assert result.differences["denoised"].shape == (68, 52)
    assert result.errors["equivariant"] < 1e-5


def test_a_window_of_a_stack_with_channels(tiny, noisy):
    stack = np.stack([np.stack([noisy, 300 - noisy]), np.stack([noisy, noisy * 2])])
    model = Redenoiser(tiny, device="cpu").fit(stack, "TCYX")
    window = Window((1,), slice(2, 42), slice(4, 44))
    result = equivariance(model, stack, "TCYX", window=window)
    assert result.window == window
    assert result.differences["denoised"].shape == (40, 40)
    part = stack[1, :, 2:42, 4:44]
    original = model.predict(part, "CYX", tta=False, draws=0, corrections=False).denoised
    rotated = np.rot90(
        model.predict(
            np.rot90(part, 1, (1, 2)), "CYX", tta=False, draws=0, corrections=False
        ).denoised,
        -1,
        (1, 2),
    )
    expected = np.sqrt(((rotated - original) ** 2).mean(0))
    np.testing.assert_allclose(result.differences["denoised"], expected, atol=1e-3)


def test_nan_pixels_are_ignored(model, noisy):
    holed = noisy.astype(np.float32)
    holed[10:14, 20:24] = np.nan
    for angle in (90, 30):
        result = equivariance(model, holed, angle=angle)
        assert np.isfinite(result.errors["standard"])
        assert np.isnan(result.differences["standard"][10:14, 20:24]).all()
    assert np.isnan(equivariance(model, holed).differences["standard"]).sum() == 16


def test_the_image_is_not_modified(model, noisy):
    before = noisy.copy()
    equivariance(model, noisy, angle=30)
    np.testing.assert_array_equal(noisy, before)


def test_a_single_branch_has_one_error(tiny, noisy):
    config = tiny.replace({"network.kind": "equivariant"})
    result = equivariance(Redenoiser(config, device="cpu").fit(noisy), noisy)
    assert list(result.errors) == ["denoised"]
    assert result.sentences() == [
        "Disagreement under rotation by 90°: equivariant network less than 0.01 %."
    ]


def test_errors_in_sentences(model, noisy):
    result = dataclasses.replace(
        equivariance(model, noisy, angle=45),
        errors={"standard": 0.1234, "equivariant": 1e-7, "denoised": 0.00567},
        interpolation=0.25,
    )
    said = " ".join(result.sentences())
    assert (
        "Disagreement under rotation by 45°: standard branch 12.3 %, equivariant branch less than "
        "0.01 %, fused network 0.57 %."
    ) in said
    assert "Interpolation alone changes the noisy image by 25.0 %." in said


@pytest.mark.parametrize(
    ("error", "words"), [(0.0, "less than 0.01 %"), (0.00999, "1.00 %"), (1.5, "150.0 %")]
)
def test_percentages(error, words):
    assert percent(error) == words


def test_it_can_be_stopped_within_a_tile(model, noisy):
    asked = []

    def should_stop():
        asked.append(True)
        return len(asked) > 5

    with pytest.raises(Interrupted):
        equivariance(model, noisy, should_stop=should_stop)
    # Polled before every convolution: it did not continue.
    assert len(asked) < 12
    tiles = []
    result = equivariance(
        model, noisy, progress=lambda *tile: tiles.append(tile), should_stop=lambda: False
    )
    assert result.errors == equivariance(model, noisy).errors
    # Denoised twice, in one tile each.
    assert tiles == [(1, 1), (1, 1)]


def test_wrong_arguments_are_refused(model, noisy, tiny):
    with pytest.raises(ConfigError, match="angle in degrees"):
        equivariance(model, noisy, angle=float("nan"))
    with pytest.raises(ConfigError, match="not been trained"):
        equivariance(Redenoiser(tiny, device="cpu"), noisy)
    with pytest.raises(InputError, match="at least 16"):
        equivariance(model, noisy, window=Window((), slice(0, 15), slice(0, 40)))
    with pytest.raises(InputError, match="the result is constant"):
        equivariance(model, np.full((40, 40), np.nan, np.float32))
