"""Whatever a caller has set for torch, training works, and the caller finds it as it was."""

import contextlib
from collections.abc import Callable

import numpy as np
import pytest
import tifffile
import torch

from napari_redenoise import Config, FolderConfig, FolderTraining, Redenoiser
from napari_redenoise.io import export_model
from napari_redenoise.model import estimate_run

MODES = {"no_grad": torch.no_grad, "inference_mode": torch.inference_mode}
modes = pytest.mark.parametrize("mode", MODES.values(), ids=MODES)

OBJECTIVES = {
    "noise2self": {},
    "noise2void": {},
    "median": {"objective.kind": "noise2void", "objective.replacement": "median"},
    "noise2noise": {},
    "neighbor2neighbor": {},
    "r2r": {"objective.noise": {"gain": (1.0,), "offset": (0.0,), "read_noise": (0.5,)}},
}
objectives = pytest.mark.parametrize("objective", OBJECTIVES)


def configured(tiny: Config, objective: str) -> Config:
    return tiny.replace({"objective.kind": objective, **OBJECTIVES[objective]})


def of_all_steps(config: Config, noisy: np.ndarray, objective: str) -> np.ndarray:
    """Train, copy, continue and predict."""
    second = noisy[::-1].copy() if objective == "noise2noise" else None
    model = Redenoiser(config, "cpu").fit(noisy, target=second)
    for _ in model.fit_events(noisy, target=second, resume=True, steps=2):
        pass
    return model.predict(noisy).denoised


@modes
@objectives
def test_training_is_the_same_where_gradients_are_off(
    tiny: Config, noisy, objective: str, mode: Callable
) -> None:
    config = configured(tiny, objective)
    expected = of_all_steps(config, noisy, objective)
    with mode():
        found = of_all_steps(config, noisy, objective)
    np.testing.assert_array_equal(found, expected)


@modes
def test_the_caller_finds_gradients_as_they_were(tiny: Config, noisy, mode: Callable) -> None:
    def now() -> tuple[bool, bool]:
        return torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    with mode():
        inside = now()
        for _ in Redenoiser(tiny, "cpu").fit_events(noisy):
            assert now() == inside
        events = Redenoiser(tiny, "cpu").fit_events(noisy)
        next(events)
        events.close()
        assert now() == inside
    assert now() == (True, False)


@modes
def test_training_begun_in_one_mode_continues_in_another(tiny: Config, noisy, mode) -> None:
    expected = [event.loss for event in Redenoiser(tiny, "cpu").fit_events(noisy)]
    events = Redenoiser(tiny, "cpu").fit_events(noisy)
    with mode():
        first = next(events)
    assert [first.loss, *(event.loss for event in events)] == expected


@modes
def test_fine_tuning_works_with_gradients_disabled(noisy, mode: Callable) -> None:
    config = Config().replace({"training.steps": 1, "training.batch_size": 1})
    config = config.replace({"objective.kind": "noise2self", "training.patch_size": 32})
    with mode():
        model = Redenoiser(config, "cpu").fit(noisy)
    assert model.session.provenance["steps"] == 1


@modes
def test_folder_training_resumes_with_gradients_disabled(
    tiny: Config, noisy, tmp_path, mode: Callable
) -> None:
    for name in ("a", "b"):
        tifffile.imwrite(tmp_path / f"{name}.tif", noisy)
    config = tiny.replace({"objective.kind": "noise2noise"})

    def training() -> FolderTraining:
        return FolderTraining(config, FolderConfig(epochs=2), tmp_path, device="cpu")

    with mode():
        begun = training()
        next(iter(begun.events()))
        begun.save_checkpoint(tmp_path / "state.safetensors")
        resumed = training()
        resumed.resume(tmp_path / "state.safetensors")
    list(resumed.events())
    assert resumed.state.step == resumed.config.training.total_steps > 1


@contextlib.contextmanager
def deterministic():
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@objectives
def test_training_works_with_deterministic_algorithms(tiny: Config, noisy, objective: str) -> None:
    with deterministic():
        assert np.isfinite(of_all_steps(configured(tiny, objective), noisy, objective)).all()


@objectives
def test_training_works_in_float32_whatever_the_default(
    tiny: Config, noisy, use_dtype, objective: str
) -> None:
    use_dtype(torch.float64)
    model = Redenoiser(configured(tiny, objective), "cpu")
    second = noisy[::-1].copy() if objective == "noise2noise" else None
    model.fit(noisy, target=second)
    assert {p.dtype for p in model.session.network().parameters()} == {torch.float32}
    assert np.isfinite(model.predict(noisy).denoised).all()
    model.session.use_snapshot(model.session.snapshots[0].step)
    assert np.isfinite(model.predict(noisy).denoised).all()
    assert estimate_run(model.config, noisy, None, model.device).seconds > 0


def test_models_are_the_same_whatever_the_default(tiny, noisy, tmp_path, use_dtype) -> None:
    model = Redenoiser(tiny, "cpu").fit(noisy)
    path, expected = model.save(tmp_path / "m.safetensors"), model.predict(noisy).denoised
    use_dtype(torch.float64)
    loaded = Redenoiser.load(path, "cpu")
    export_model(
        tmp_path / "m.pt2",
        loaded.session.network(),
        loaded.config.network,
        loaded.session.normalisation,
    )
    program = torch.export.load(tmp_path / "m.pt2").module()
    image = torch.from_numpy(noisy.astype(np.float32))[None, None]
    assert program(image).dtype == torch.float32
    np.testing.assert_allclose(loaded.predict(noisy).denoised, expected, rtol=1e-5)


def test_pretrained_weights_do_not_depend_on_the_default_dtype(noisy, use_dtype) -> None:
    config = Config().replace({"training.steps": 0})
    expected = Redenoiser(config, "cpu").fit(noisy).predict(noisy).denoised
    use_dtype(torch.float64)
    found = Redenoiser(config, "cpu").fit(noisy).predict(noisy).denoised
    np.testing.assert_array_equal(found, expected)


@pytest.fixture
def meta_device():
    """A default device that every computer has and that is no place to compute."""
    before = torch.get_default_device()
    torch.set_default_device("meta")
    yield
    torch.set_default_device(before if before.type != "cpu" else None)


@pytest.mark.usefixtures("meta_device")
@objectives
def test_another_default_device_changes_nothing(tiny: Config, noisy, objective, tmp_path) -> None:
    config = configured(tiny, objective)
    found = of_all_steps(config, noisy, objective)
    torch.set_default_device(None)
    np.testing.assert_array_equal(found, of_all_steps(config, noisy, objective))
    torch.set_default_device("meta")
    path = Redenoiser(tiny, "cpu").fit(noisy).save(tmp_path / "model.safetensors")
    assert np.isfinite(Redenoiser.load(path, "cpu").predict(noisy).denoised).all()
    assert torch.get_default_device().type == "meta"
