import itertools
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import torch
import zarr

import napari_redenoise.config as config_module
import napari_redenoise.model._run as run_module
import napari_redenoise.model._tiled as prediction_module
from napari_redenoise import Config, Redenoiser
from napari_redenoise.errors import ConfigError, DeviceError, InputError, OutputError
from napari_redenoise.inference import Interrupted, interruptible, tile_sizes
from napari_redenoise.model import estimate_run
from napari_redenoise.model._previews import FIRST_STEP, PreviewDone, Window
from napari_redenoise.training import StepDone

KINDS = ("adarenet", "equivariant", "standard")


@pytest.fixture
def model(tiny: Config) -> Redenoiser:
    return Redenoiser(tiny, device="cpu")


@pytest.fixture
def trained(model: Redenoiser, noisy: np.ndarray) -> Redenoiser:
    return model.fit(noisy)


def counting(after: int) -> Callable[[], bool]:
    """Is false ``after`` times, and then true."""
    calls = itertools.count()
    return lambda: next(calls) >= after


@pytest.mark.parametrize(
    ("axes", "shape"),
    [
        ("YX", (70, 54)),
        ("YX", (33, 41)),
        ("TYX", (3, 40, 54)),
        ("YXC", (40, 54, 3)),
        ("ZCYX", (2, 2, 40, 54)),
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_result_has_the_shape_of_the_image_and_is_float32(model, axes, shape, dtype) -> None:
    image = np.random.default_rng(0).poisson(60, shape).astype(dtype)
    before = image.copy()
    result = model.fit(image, axes).predict(image, axes, branches=True)
    for part in (result.denoised, result.standard, result.equivariant):
        assert (part.shape, part.dtype) == (shape, np.float32)
        assert np.isfinite(part).all()
    without = tuple(size for size, axis in zip(shape, axes, strict=True) if axis != "C")
    assert (result.mask.shape, result.mask.dtype) == (without, np.float32)
    assert ((result.mask >= 0) & (result.mask <= 1)).all()
    np.testing.assert_array_equal(image, before)


def test_the_result_is_in_the_grey_levels_of_the_image(tiny: Config, noisy: np.ndarray) -> None:
    image = noisy.astype(np.float64) * 10 + 5000
    config = tiny.replace({"training.steps": 40, "training.warmup_steps": 5})
    denoised = Redenoiser(config, "cpu").fit(image).predict(image).denoised
    assert abs(denoised.mean() - image.mean()) < 0.3 * image.std()
    assert denoised.std() < 1.2 * image.std()


@pytest.mark.parametrize("wrap", [lambda a: da.from_array(a, chunks=32), zarr.array])
def test_lazy_arrays_give_the_result_of_numpy(tiny: Config, noisy: np.ndarray, wrap) -> None:
    expected = Redenoiser(tiny, "cpu").fit(noisy).predict(noisy).denoised
    lazy = wrap(noisy)
    got = Redenoiser(tiny, "cpu").fit(lazy).predict(lazy).denoised
    np.testing.assert_allclose(got, expected, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_only_adarenet_has_a_mask_and_branches(tiny: Config, noisy: np.ndarray, kind: str) -> None:
    model = Redenoiser(tiny.replace({"network.kind": kind}), "cpu").fit(noisy)
    plain, full = model.predict(noisy), model.predict(noisy, branches=True)
    assert plain.standard is plain.equivariant is None
    for part in (plain.mask, full.mask, full.standard, full.equivariant):
        assert (part is not None) == (kind == "adarenet")
    np.testing.assert_array_equal(plain.denoised, full.denoised)


def test_predicting_before_training_is_refused_with_a_remedy(model, noisy, tmp_path) -> None:
    assert not model.session.is_trained
    with pytest.raises(ConfigError, match=r"not been trained: call fit\(\) or load\(\) first"):
        model.predict(noisy)
    with pytest.raises(ConfigError, match="not been trained"):
        model.save(tmp_path / "model.safetensors")
    with pytest.raises(ConfigError, match="not been trained"):
        model.session.preview(noisy, None, Window((), slice(0, 32), slice(0, 32)))


def test_an_image_with_other_channels_is_refused_with_a_remedy(trained: Redenoiser) -> None:
    image = np.zeros((40, 40, 3), np.uint8)
    with pytest.raises(InputError, match=r"trained on 1 channel.*has 3: train on this image"):
        trained.predict(image, "YXC")


def test_a_model_can_be_trained_again_on_other_channels(trained, noisy) -> None:
    image = np.stack([noisy, noisy[::-1]])
    assert trained.fit(image, "CYX").predict(image, "CYX").denoised.shape == image.shape


def test_nothing_changes_when_the_image_is_refused(trained: Redenoiser, noisy) -> None:
    expected = trained.predict(noisy).denoised
    for wrong in (np.zeros((40, 40)), np.full((40, 40), np.nan), np.zeros((8, 8))):
        with pytest.raises(InputError):
            trained.fit(wrong)
    np.testing.assert_array_equal(trained.predict(noisy).denoised, expected)


def test_a_seed_gives_one_result(tiny: Config, noisy: np.ndarray) -> None:
    first, again, other = (
        Redenoiser(tiny.replace({"training.seed": seed}), "cpu").fit(noisy).predict(noisy)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.denoised, again.denoised)
    assert (first.denoised != other.denoised).any()


def test_leaving_the_events_keeps_the_weights(model: Redenoiser, noisy) -> None:
    events = model.fit_events(noisy)
    first = next(events)
    events.close()
    assert isinstance(first, StepDone)
    assert model.session.provenance["steps"] == 1
    assert np.isfinite(model.predict(noisy).denoised).all()


@pytest.mark.parametrize("stop_after", [1, 2, 3])
def test_stopping_ends_the_training_within_a_step(tiny: Config, noisy, stop_after: int) -> None:
    model = Redenoiser(tiny.replace({"training.steps": 1000}), "cpu")
    events = list(model.fit_events(noisy, should_stop=counting(stop_after)))
    assert [event.step for event in events] == list(range(1, stop_after + 1))
    assert model.predict(noisy).denoised.shape == noisy.shape


def test_stopping_interrupts_a_tile(trained, noisy) -> None:
    outputs = trained.session.allocate(noisy)
    outputs["denoised"][:] = -1
    events = list(trained.predict_events(noisy, outputs=outputs, should_stop=counting(5)))
    assert events == []
    assert (outputs["denoised"] == -1).all()
    # The same network then predicts as if nothing had happened.
    assert (trained.predict(noisy).denoised != -1).all()


def test_stopping_keeps_the_planes_that_are_done(trained: Redenoiser, noisy) -> None:
    stack = np.stack([noisy] * 3)
    outputs = trained.session.allocate(stack)
    done = []
    for event in trained.predict_events(stack, outputs=outputs, should_stop=lambda: bool(done)):
        done.append((event.tile, event.tiles))
    assert done == [(1, 3)]
    assert outputs["denoised"].any((1, 2)).tolist() == [True, False, False]


def test_another_stop_on_the_same_network_is_ignored(trained, noisy) -> None:
    expected = trained.predict(noisy).denoised

    def predict(should_stop: Callable[[], bool]) -> np.ndarray:
        outputs = trained.session.allocate(noisy)
        list(trained.predict_events(noisy, outputs=outputs, should_stop=should_stop))
        return outputs["denoised"]

    with interruptible(trained.session.network(), lambda: True), ThreadPoolExecutor(1) as elsewhere:
        complete = elsewhere.submit(predict, lambda: False).result()
        # Of a picture left for another reason than our own, nobody must believe it is complete.
        with pytest.raises(Interrupted):
            predict(lambda: False)
    np.testing.assert_allclose(complete, expected, rtol=1e-5)


def test_results_can_be_written_into_zarr(trained: Redenoiser, noisy) -> None:
    outputs = {"denoised": zarr.zeros(noisy.shape, dtype="float32", chunks=(16, 16))}
    list(trained.predict_events(noisy, outputs=outputs))
    np.testing.assert_array_equal(outputs["denoised"][:], trained.predict(noisy).denoised)


@pytest.fixture
def long(tiny: Config) -> Config:
    return tiny.replace({"training.steps": FIRST_STEP + 5})


@pytest.mark.parametrize("kind", KINDS)
def test_previews_show_the_window_that_is_looked_at(long: Config, noisy, kind: str) -> None:
    stack = np.stack([noisy, noisy[::-1]])
    window = Window((1,), slice(3, 40), slice(10, 51))
    model = Redenoiser(long.replace({"network.kind": kind}), "cpu")
    events = list(model.fit_events(stack, "TYX", view=lambda: window))
    previews = [event for event in events if isinstance(event, PreviewDone)]
    assert previews
    assert len(events) - len(previews) == long.training.steps
    for preview in previews:
        assert preview.step >= FIRST_STEP
        assert preview.window == window
        assert preview.denoised.shape == (1, 37, 41)
        assert (preview.mask is not None) == (kind == "adarenet")
    # In grey levels, and the preview of the finished model is that of a plain prediction.
    last = model.session.preview(stack, "TYX", window)
    whole = model.predict(
        stack[:, 3:40, 10:51], "TYX", tta=False, draws=0, corrections=False
    ).denoised
    np.testing.assert_allclose(last.denoised, whole[1:], rtol=1e-5)


def test_a_changed_view_is_previewed_at_once(long: Config, noisy: np.ndarray) -> None:
    windows = itertools.cycle([Window((), slice(0, 32), slice(0, 32 + n)) for n in (0, 8)])
    model = Redenoiser(long, "cpu")
    events = list(model.fit_events(noisy, view=lambda: next(windows)))
    widths = [event.denoised.shape[-1] for event in events if isinstance(event, PreviewDone)]
    assert widths == [32, 40, 32, 40, 32, 40]


def test_no_preview_without_a_view(long: Config, noisy: np.ndarray) -> None:
    events = list(Redenoiser(long, "cpu").fit_events(noisy, view=lambda: None))
    assert {type(event) for event in events} == {StepDone}


def test_previews_do_not_change_what_is_learned(long: Config, noisy: np.ndarray) -> None:
    window = Window((), slice(0, 32), slice(0, 32))
    plain, watched = Redenoiser(long, "cpu"), Redenoiser(long, "cpu")
    plain.fit(noisy)
    list(watched.fit_events(noisy, view=lambda: window))
    np.testing.assert_array_equal(plain.predict(noisy).denoised, watched.predict(noisy).denoised)


def failing(monkeypatch: pytest.MonkeyPatch, largest: int) -> list[int]:
    """Let prediction run out of memory with tiles above a size; returns the sizes tried."""
    tried: list[int] = []
    original = prediction_module.predict

    def predict(*args, tile: int, **options):
        tried.append(tile)
        if tile > largest:
            raise torch.OutOfMemoryError("CUDA out of memory")
        yield from original(*args, tile=tile, **options)

    monkeypatch.setattr(prediction_module, "predict", predict)
    return tried


def test_running_out_of_memory_makes_the_tiles_smaller(trained, noisy, monkeypatch) -> None:
    expected = trained.predict(noisy).denoised
    tried = failing(monkeypatch, largest=256)
    np.testing.assert_allclose(trained.predict(noisy).denoised, expected, rtol=1e-5)
    assert tried == [1024, 512, 256]


def test_permanent_out_of_memory_is_reported_with_a_remedy(trained, noisy, monkeypatch) -> None:
    tried = failing(monkeypatch, largest=0)
    with pytest.raises(DeviceError, match=r"cpu ran out of memory: close other .* device 'cpu'"):
        trained.predict(noisy)
    assert len(tried) > 1
    assert min(tried) >= tile_sizes(trained.config.network, trained.config.tiling)[2]


def test_out_of_memory_in_training_is_reported_with_a_remedy(model, noisy, monkeypatch) -> None:
    def train(*_: object):
        raise torch.OutOfMemoryError("CUDA out of memory")
        yield

    monkeypatch.setattr(run_module, "train", train)
    with pytest.raises(DeviceError, match="ran out of memory: choose a smaller patch or batch"):
        model.fit(noisy)


def test_a_missing_device_is_refused_with_the_available_ones() -> None:
    with pytest.raises(DeviceError, match=r"'cuda:99' is not available: choose one of .*cpu"):
        Redenoiser(device="cuda:99")


def test_provenance_says_what_was_run_in_plain_json(trained: Redenoiser, noisy) -> None:
    provenance = trained.predict(noisy).provenance
    assert json.loads(json.dumps(provenance)) == provenance
    assert Config(**provenance["asked"]) == trained.config
    assert provenance["shape"] == [70, 54]
    assert (provenance["axes"], provenance["steps"]) == ("YX", 3)
    assert (provenance["device"], provenance["precision"]) == ("cpu", "float32")
    assert provenance["torch"] == torch.__version__
    assert provenance["loss"] > 0 < provenance["seconds"]


def test_a_saved_model_predicts_the_same(trained: Redenoiser, noisy, tmp_path: Path) -> None:
    path = trained.save(tmp_path / "model.safetensors")
    loaded = Redenoiser.load(path, "cpu")
    result, expected = loaded.predict(noisy), trained.predict(noisy)
    # Not to the last bit: the memory format of a trained network is another one.
    np.testing.assert_allclose(result.denoised, expected.denoised, rtol=1e-5)
    np.testing.assert_allclose(result.mask, expected.mask, atol=1e-5)
    assert result.provenance == expected.provenance
    with pytest.raises(OutputError, match="exists already"):
        loaded.save(path)
    loaded.save(path, overwrite=True)


def test_the_time_expected_grows_with_the_work(model: Redenoiser, noisy, tiny: Config) -> None:
    little = estimate_run(model.config, noisy, None, model.device).seconds
    longer = estimate_run(
        tiny.replace({"training.steps": 3000}), noisy, None, torch.device("cpu")
    ).seconds
    stack = estimate_run(
        model.config, np.broadcast_to(noisy, (500, *noisy.shape)), None, model.device
    ).seconds
    assert 0 < little < longer
    assert little < stack


def test_a_stop_while_reading_trains_nothing(tiny: Config) -> None:
    class Counting:
        shape, dtype, reads = (50, 64, 64), np.dtype(np.float32), 0

        def __getitem__(self, key):
            self.reads += 1
            return np.random.default_rng(self.reads).normal(size=(64, 64)).astype(np.float32)

    image = Counting()
    model = Redenoiser(tiny, "cpu")
    assert list(model.fit_events(image, should_stop=lambda: True)) == []
    assert image.reads <= 2
    assert model.session.provenance == {}


def test_the_expected_time_grows_with_steps_and_pixels(tiny: Config) -> None:
    def seconds(steps, shape):
        model = Redenoiser(tiny.replace({"training.steps": steps}), "cpu")
        return estimate_run(model.config, np.zeros(shape, np.float32), None, model.device).seconds

    # The trial is made once per setting of the training, so only rough factors are compared.
    assert seconds(100_000, (64, 64)) > 100 * seconds(10, (64, 64)) > 0
    one, many = seconds(1, (64, 64)), seconds(1, (5000, 64, 64))
    assert many > 100 * one


def test_small_images_are_predicted_with_tta(
    trained: Redenoiser, noisy: np.ndarray, monkeypatch
) -> None:
    def denoised(mirrored: bool | None, **options) -> np.ndarray:
        twin = copy(trained)
        twin.config = twin.config.replace({"tiling.tta": mirrored})
        outputs = twin.session.allocate(noisy)
        list(twin.predict_events(noisy, outputs=outputs, **options))
        return outputs["denoised"]

    once, both = denoised(False), denoised(True)
    assert np.abs(once - both).max() > 1e-3 * once.std()
    np.testing.assert_array_equal(denoised(None), both)
    np.testing.assert_array_equal(denoised(True, tta=False, draws=0, corrections=False), once)
    monkeypatch.setattr(config_module, "MAX_TTA_PIXELS", noisy.size - 1)
    np.testing.assert_array_equal(denoised(None), once)


def test_the_expected_time_includes_tta(tiny: Config) -> None:
    def seconds(mirrored: bool) -> float:
        config = tiny.replace({"training.steps": 1, "tiling.tta": mirrored})
        return estimate_run(
            config, np.zeros((5000, 64, 64), np.float32), None, torch.device("cpu")
        ).seconds

    assert seconds(True) == pytest.approx(2 * seconds(False), rel=0.05)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_pixels_that_are_not_finite_change_no_others(
    tiny: Config, noisy: np.ndarray, value: float
) -> None:
    image = noisy.astype(np.float32)
    image[5:9, 7] = value
    result = Redenoiser(tiny, "cpu").fit(image).predict(image)
    np.testing.assert_array_equal(np.isfinite(result.denoised), np.isfinite(image))
    np.testing.assert_array_equal(result.denoised[5:9, 7], image[5:9, 7])


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        MemoryError(),
    ],
)
def test_out_of_memory_is_reported_on_every_device(
    trained: Redenoiser, noisy, monkeypatch, error
) -> None:
    def full(*_args, **_keywords):
        raise error
        yield

    monkeypatch.setattr(prediction_module, "predict", full)
    with pytest.raises(DeviceError, match="ran out of memory"):
        trained.predict(noisy)
    monkeypatch.setattr(run_module, "train", full)
    with pytest.raises(DeviceError, match="ran out of memory"):
        trained.fit(noisy)


def test_a_large_result_is_a_zarr_array_with_the_same_values(
    trained: Redenoiser, noisy, monkeypatch
) -> None:
    stack = np.stack([noisy, noisy[::-1]])
    expected = trained.predict(stack)
    monkeypatch.setattr("napari_redenoise.io._result_arrays.MOST_BYTES_IN_MEMORY", 100)
    result = trained.predict(stack)
    assert isinstance(result.denoised, zarr.Array)
    np.testing.assert_array_equal(result.denoised[:], expected.denoised)
    np.testing.assert_array_equal(result.mask[:], expected.mask)


def test_a_list_of_lists_is_an_image_too(tiny: Config, noisy: np.ndarray) -> None:
    model = Redenoiser(tiny, "cpu").fit(noisy.tolist())
    assert model.predict(noisy.tolist()).denoised.shape == noisy.shape
