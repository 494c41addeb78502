"""What is different on a CUDA device; skipped where there is none."""

import numpy as np
import pytest
import torch

from napari_redenoise import Config, Redenoiser
from napari_redenoise.config import TrainingConfig
from napari_redenoise.objectives import Noise2Self, Sample
from napari_redenoise.training import start, train
from napari_redenoise.training._step import Step

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
CUDA = torch.device("cuda")


def noisy(side: int = 160) -> np.ndarray:
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side] / side
    expected = 40 * (1 + np.sin(20 * rows) * np.cos(14 * columns))
    return rng.poisson(expected).astype(np.float32)


def batches(count: int, side: int = 32, batch: int = 4):
    image = torch.from_numpy(noisy())
    image = (image - image.mean()) / image.std()
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        rows, columns = torch.randint(160 - side, (2, batch), generator=generator).tolist()
        yield torch.stack(
            [image[None, r : r + side, c : c + side] for r, c in zip(rows, columns, strict=True)]
        )


def losses(config: Config, *, recorded: bool) -> list[float]:
    state = start(config, CUDA)
    if not recorded:
        state.optimiser.param_groups[0]["capturable"] = False
        state.optimiser.param_groups[0]["lr"] = float(state.optimiser.param_groups[0]["lr"])
    steps = train(state, batches(30), Noise2Self(), config.training, torch.float32)
    return [step.loss for step in steps]


def test_recorded_steps_follow_unrecorded_ones(monkeypatch) -> None:
    # Tensor cores round to 10 bits, and not alike in different kernels; Adam's first steps make
    # much of little, so they are kept small.
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    config = Config().replace(
        {"training.steps": 12, "training.start": "random", "training.learning_rate": 1e-4}
    )
    recorded, usual = losses(config, recorded=True), losses(config, recorded=False)
    torch.testing.assert_close(recorded, usual, rtol=2e-3, atol=1e-4)
    # Small as they are, they count: without them the losses would be others.
    still = losses(config.replace({"training.learning_rate": 1e-9}), recorded=False)
    assert abs(recorded[-1] - still[-1]) > 10 * abs(recorded[-1] - usual[-1])


def test_the_rate_of_recorded_steps_changes_with_the_schedule() -> None:
    config = Config().replace({"training.steps": 40, "training.start": "random"})
    state = start(config, CUDA)
    rates = []
    for step in train(state, batches(40), Noise2Self(), config.training, torch.bfloat16):
        assert float(state.optimiser.param_groups[0]["lr"]) == pytest.approx(step.learning_rate)
        rates.append(step.learning_rate)
    assert rates[-1] < rates[20] / 10
    assert np.mean(state.losses[-5:]) < np.mean(state.losses[:5])


def test_a_batch_of_another_shape_is_computed_as_usual() -> None:
    config = Config().replace({"training.start": "random"})
    state = start(config, CUDA)
    step = Step(state.network, state.optimiser, torch.float32, _plain, 1.0)
    sizes = [32] * 5 + [64] + [32]
    for side in sizes:
        patch = next(batches(1, side)).to(CUDA)
        assert torch.isfinite(step(Sample(patch, patch, torch.ones_like(patch)), 1e-3, 0.5))


def _plain(prediction, sample):
    loss = ((prediction.denoised.float() - sample.target) ** 2).mean()
    return loss.detach(), loss


def test_steps_that_cannot_be_recorded_are_made_as_usual() -> None:
    def waiting(prediction, sample):
        main, total = _plain(prediction, sample)
        # What waits for the device cannot be recorded.
        assert float(main) > 0
        return main, total

    found = []
    for loss in (_plain, waiting):
        state = start(Config().replace({"training.start": "random"}), CUDA)
        if loss is _plain:
            state.optimiser.param_groups[0].update(capturable=False, lr=1e-4)
        step = Step(state.network, state.optimiser, torch.float32, loss, 1.0)
        samples = [batch.to(CUDA) for batch in batches(8)]
        found.append([float(step(Sample(x, x, torch.ones_like(x)), 1e-4, 0.5)) for x in samples])
    torch.testing.assert_close(found[1], found[0], rtol=2e-3, atol=1e-4)


def test_patches_that_need_padding_are_computed_as_usual() -> None:
    image = noisy()[:90, :80]
    config = Config().replace({"objective.kind": "noise2self", "training.steps": 8})
    model = Redenoiser(config, "cuda").fit(image)
    assert model.session.provenance["steps"] == 8
    assert np.isfinite(model.predict(image).denoised).all()


def test_pretrained_weights_predict_alike_on_both_devices() -> None:
    config = Config().replace({"training.steps": 0})
    image = noisy()
    here, there = (
        Redenoiser(config, device).fit(image).predict(image).denoised for device in ("cpu", "cuda")
    )
    assert np.abs(here - there).max() < 5e-3 * image.std()


@pytest.mark.parametrize("objective", ["noise2self", "noise2void", "r2r", "neighbor2neighbor"])
def test_fine_tuning_with_every_objective(objective: str) -> None:
    config = Config().replace({"objective.kind": objective, "training.steps": 12})
    image = noisy()
    model = Redenoiser(config, "cuda").fit(image)
    denoised = model.predict(image).denoised
    assert model.session.provenance["device"] == "cuda:0"
    assert np.isfinite(denoised).all()
    assert np.corrcoef(denoised.ravel(), image.ravel())[0, 1] > 0.5
    for _ in model.fit_events(image, resume=True, steps=8):
        pass
    assert model.session.provenance["steps"] == 20


def test_tiles_are_halved_when_memory_is_insufficient() -> None:
    config = Config().replace({"training.steps": 0})
    image = np.tile(noisy(), (16, 16))
    model = Redenoiser(config, "cuda").fit(image[:160, :160])
    whole = model.predict(image).denoised
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    try:
        torch.cuda.set_per_process_memory_fraction(3e9 / total)
        small = model.predict(image).denoised
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert np.abs(whole - small).max() < 1e-3 * image.std()


def test_training_configurations_are_plain_numbers() -> None:
    config = TrainingConfig(steps=3, start="random", learning_rate=1e-3)
    state = start(Config().model_copy(update={"training": config}), CUDA)
    assert [step.learning_rate for step in train(state, batches(3), Noise2Self(), config)]
    assert state.optimiser.param_groups[0]["initial_lr"] == pytest.approx(1e-3)
