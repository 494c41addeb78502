"""A plan: found and decided once, handed on, kept beside the model."""

import json
from pathlib import Path

import numpy as np
import pytest

from napari_redenoise import Config, Redenoiser
from napari_redenoise.model import (
    Corrections,
    TrainingImages,
    TrainingPlan,
    _training_images,
    measure_noise,
)
from napari_redenoise.noise import poisson_gaussian

GAIN, SIGMA = 3.0, 10.0


def photons(seed: int = 0) -> np.ndarray:
    light = 40 + 30 * np.sin(np.mgrid[:160, :160][0] / 15) * np.cos(np.mgrid[:160, :160][1] / 18)
    return poisson_gaussian(light, np.random.default_rng(seed), gain=GAIN, offset=100.0)


def with_lines() -> np.ndarray:
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:256, :256]
    light = 100 + 200 * (np.sin(columns / 20) * np.cos(rows / 30)) ** 2
    offsets = rng.normal(0, SIGMA / 2, (256, 1))
    return (light + offsets + rng.normal(0, SIGMA, light.shape)).astype(np.float32)


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often the noise of an image is measured."""
    calls: list[int] = []
    real = _training_images.noise_reports

    def counting(*arguments: object, **keywords: object) -> object:
        calls.append(1)
        return real(*arguments, **keywords)

    monkeypatch.setattr(_training_images, "noise_reports", counting)
    return calls


@pytest.mark.parametrize("kind", ["auto", "r2r"])
@pytest.mark.parametrize("start", ["pretrained", "random"])
def test_a_run_measures_the_noise_once(tiny: Config, measured, kind: str, start: str) -> None:
    config = tiny.replace({"objective.kind": kind, "training.start": start, "training.steps": 2})
    if start == "pretrained":
        config = config.replace({"network": Config().network.model_dump()})
        config = config.replace({"training.patch_size": 32, "training.batch_size": 1})
    Redenoiser(config, "cpu").fit(photons())
    assert len(measured) == 1


def test_a_run_with_line_correction_measures_the_noise_twice(tiny: Config, measured) -> None:
    model = Redenoiser(tiny.replace({"objective.kind": "auto"}), "cpu").fit(with_lines())
    assert model.session.plan.lines == "rows"
    assert len(measured) == 2


def test_with_a_plan_nothing_is_measured_again(tiny: Config, measured) -> None:
    image = photons()
    model = Redenoiser(tiny.replace({"objective.kind": "r2r"}), "cpu")
    plan = model.plan(image)
    assert len(measured) == 1
    given = model.fit(image, plan=plan).predict(image).denoised
    assert len(measured) == 1
    assert model.session.plan == plan
    found = Redenoiser(model.config, "cpu").fit(image).predict(image).denoised
    np.testing.assert_array_equal(given, found)


def test_with_reports_the_noise_is_not_measured_again(tiny: Config, measured) -> None:
    image = photons()
    model = Redenoiser(tiny.replace({"objective.kind": "r2r"}), "cpu")
    plan = model.plan(image, reports=measure_noise(image))
    assert not measured
    assert plan.config.objective.noise.gain == pytest.approx((GAIN,), rel=0.15)


def test_the_configuration_is_never_changed(tiny: Config) -> None:
    config = tiny.replace({"objective.kind": "auto"})
    model = Redenoiser(config, "cpu").fit(np.stack([photons(), photons(1)]), "CYX")
    assert model.config == config
    plan = model.session.plan
    assert plan.asked == config
    assert plan.config.network.channels == 2
    assert plan.config.objective.kind != "auto"
    assert plan.config.objective.lines == "none"
    # Another image, another plan.
    assert model.fit(photons()).session.plan.config.network.channels == 1


def test_a_plan_travels_with_the_model(tiny: Config, tmp_path: Path) -> None:
    model = Redenoiser(tiny.replace({"objective.kind": "r2r"}), "cpu").fit(photons())
    plan = model.session.plan
    assert TrainingPlan.from_json(json.loads(json.dumps(plan.as_json()))) == plan
    loaded = Redenoiser.load(model.save(tmp_path / "model.safetensors"), "cpu")
    assert loaded.session.plan == plan
    assert loaded.session.plan.reports == plan.reports
    assert loaded.config == model.config
    # It is of that image: another one is measured.
    doubled = 2 * photons(1).astype(np.float32) - 100
    noise = loaded.fit(doubled).session.plan.config.objective.noise
    assert noise.gain == pytest.approx((2 * GAIN,), rel=0.15)


def test_resuming_counts_on_from_the_last_step(tiny: Config) -> None:
    image = photons()
    model = Redenoiser(tiny.replace({"objective.kind": "auto", "training.steps": 3}), "cpu")
    model.fit(image).fit(image, resume=True, steps=2)
    assert model.session.step == 5
    assert model.session.plan.config.training.steps == 5
    assert model.config.training.steps == 3


def test_resuming_with_a_plan_makes_as_many_steps(tiny: Config) -> None:
    image = photons()
    model = Redenoiser(tiny.replace({"objective.kind": "auto", "training.steps": 3}), "cpu")
    plan = model.plan(image)
    model.fit(image, plan=plan).fit(image, plan=plan, resume=True, steps=2)
    assert model.session.step == 5
    assert model.session.plan.reports == plan.reports


def test_steps_take_the_place_of_those_of_the_configuration(tiny: Config) -> None:
    model = Redenoiser(tiny, "cpu").fit(photons(), steps=2)
    assert (model.session.step, model.config) == (2, tiny)


def test_the_plan_is_described(tiny: Config) -> None:
    auto = {"objective.kind": "auto"}
    first, *rest = Redenoiser(tiny.replace(auto), "cpu").plan(with_lines()).sentences()
    assert first == "line correction: offsets of rows are subtracted"
    assert rest == ["objective noise2self: the noise is independent from pixel to pixel"]
    r2r = tiny.replace({"objective.kind": "r2r"})
    (line,) = Redenoiser(r2r, "cpu").plan(photons()).sentences()
    assert line.startswith("objective r2r: gain ")
    assert list(Redenoiser(tiny, "cpu").plan(photons()).sentences()) == []


def test_a_line_correction_is_made_once(tiny: Config, monkeypatch) -> None:
    corrected = []
    real = _training_images.correct

    def counting(planes, *arguments, **keywords):
        corrected.append(planes)
        return real(planes, *arguments, **keywords)

    monkeypatch.setattr(_training_images, "correct", counting)
    Redenoiser(tiny.replace({"objective.kind": "auto"}), "cpu").fit(with_lines())
    assert len(corrected) == 1
    material = TrainingImages.of(with_lines(), None)
    rows, device = Corrections("rows"), Redenoiser(tiny, "cpu").device
    assert material.corrected(rows, device) is material.corrected(rows, device)
