import copy

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_redenoise import Config
from napari_redenoise.config import TrainingConfig
from napari_redenoise.data import Planes, load_pool, patches
from napari_redenoise.model._training_images import compare_usable
from napari_redenoise.objectives import Noise2Self, Sample
from napari_redenoise.training import (
    LEARNING_RATES,
    TrainingState,
    continue_training,
    learning_rate_factor,
    start,
    train,
)

CPU = torch.device("cpu")

N2S = compare_usable(Noise2Self(4))


def noisy_image() -> np.ndarray:
    """A smooth image with noise of a third of its contrast."""
    random = np.random.default_rng(0)
    clean = ndimage.gaussian_filter(random.normal(size=(96, 96)), 4)
    return clean / clean.std() + 0.33 * random.normal(size=clean.shape)


def advance(state: TrainingState, config: Config) -> list:
    """Train to the configured number of steps on the noisy image."""
    pool = load_pool(Planes(noisy_image(), "YX"), state.generator)
    training = config.training
    batches = patches(pool, training.patch_side, training.patches_per_step, state.generator)
    return list(train(state, batches, N2S, training))


def run(config: Config) -> tuple[TrainingState, list]:
    state = start(config, CPU)
    return state, advance(state, config)


def weights(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_the_rate_warms_up_stays_and_falls_to_zero() -> None:
    config = TrainingConfig(steps=400, warmup_steps=30)
    factors = np.array([learning_rate_factor(step, config) for step in range(400)])
    np.testing.assert_allclose(factors[:30], np.arange(1, 31) / 30)
    np.testing.assert_array_equal(factors[30:200], 1)
    # The middle of the cosine, its end, and no way up.
    assert factors[300] == pytest.approx(0.5)
    assert 0 < factors[-1] < 1e-3
    assert (np.diff(factors[200:]) < 0).all()


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_learning_rate_of_short_runs_is_positive(steps: int) -> None:
    config = TrainingConfig(steps=steps, warmup_steps=0)
    assert all(0 < learning_rate_factor(step, config) <= 1 for step in range(steps))


def test_every_step_is_one_event(tiny: Config) -> None:
    config = tiny.replace({"training.steps": 5, "training.learning_rate": 1e-2})
    state, events = run(config)
    assert [event.step for event in events] == [1, 2, 3, 4, 5]
    assert {event.steps for event in events} == {5}
    assert [event.loss for event in events] == state.losses
    expected = [1e-2 * learning_rate_factor(step, config.training) for step in range(5)]
    np.testing.assert_allclose([event.learning_rate for event in events], expected)
    assert all(event.seconds > 0 for event in events)


@pytest.mark.parametrize("kind", ["adarenet", "equivariant", "standard"])
def test_the_loss_falls_towards_the_variance_of_the_noise(tiny: Config, kind: str) -> None:
    config = tiny.replace({"network.kind": kind, "training.steps": 60, "training.warmup_steps": 5})
    _, events = run(config)
    losses = [event.loss for event in events]
    noise = 0.33**2 / noisy_image().var()
    assert np.mean(losses[:5]) > 2 * np.mean(losses[-10:])
    assert 0.7 * noise < np.mean(losses[-10:]) < 4 * noise


def test_the_rate_depends_on_the_kind_unless_it_is_given(tiny: Config) -> None:
    for kind, rate in LEARNING_RATES.items():
        state = start(tiny.replace({"network.kind": kind}), CPU)
        assert state.optimiser.param_groups[0]["lr"] == rate
    state = start(tiny.replace({"training.learning_rate": 0.5}), CPU)
    assert state.optimiser.param_groups[0]["lr"] == 0.5


def test_the_seed_determines_the_weights(tiny: Config) -> None:
    first, again, other = (run(tiny.replace({"training.seed": seed}))[0] for seed in (1, 1, 2))
    assert torch.equal(weights(first.network), weights(again.network))
    assert torch.equal(weights(first.average), weights(again.average))
    assert not torch.allclose(weights(first.network), weights(other.network), atol=1e-2)


def test_the_global_generator_is_left_alone(tiny: Config) -> None:
    before = torch.get_rng_state()
    run(tiny)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_average_is_the_exponential_mean_of_the_weights(tiny: Config) -> None:
    config = tiny.replace({"training.steps": 6, "training.ema_decay": 0.3})
    state = start(config, CPU)
    pool = load_pool(Planes(noisy_image(), "YX"), state.generator)
    batches = patches(pool, 32, 2, state.generator)
    expected = weights(state.network).double()
    # The decay of step s is s / (s + 9), and no more than the configured one.
    decays = iter([1 / 10, 2 / 11, 3 / 12, 0.3, 0.3, 0.3])
    for _ in train(state, batches, N2S, config.training):
        decay = next(decays)
        expected = decay * expected + (1 - decay) * weights(state.network).double()
    torch.testing.assert_close(weights(state.average).double(), expected, rtol=1e-5, atol=1e-7)
    assert not torch.allclose(weights(state.network), weights(state.average), atol=1e-5)


def test_the_average_is_in_evaluation_mode(tiny: Config) -> None:
    state, _ = run(tiny)
    assert not any(module.training for module in state.average.modules())
    assert all(module.training for module in state.network.modules())
    assert not any(parameter.requires_grad for parameter in state.average.parameters())


def test_a_stopped_training_can_be_continued(tiny: Config) -> None:
    state = start(tiny, CPU)
    first = advance(state, tiny.replace({"training.steps": 10}))
    kept = weights(state.network)
    second = advance(state, tiny.replace({"training.steps": 20}))
    assert [event.step for event in first + second] == list(range(1, 21))
    assert state.step == len(state.losses) == 20
    assert not torch.equal(weights(state.network), kept)
    # The rate it began with is the base of the schedule, and not the one it had at the stop.
    expected = LEARNING_RATES["adarenet"] * learning_rate_factor(10, TrainingConfig(steps=20))
    assert second[0].learning_rate == pytest.approx(expected)


def test_a_schedule_may_begin_at_any_step(tiny: Config) -> None:
    changes = {"training.learning_rate": 1e-3, "training.warmup_steps": 2}
    state = start(tiny.replace(changes), CPU)
    advance(state, tiny.replace({**changes, "training.steps": 5}))
    state.schedule_start = 5
    second = advance(state, tiny.replace({**changes, "training.steps": 13}))
    assert [(event.step, event.steps) for event in second] == [(n, 13) for n in range(6, 14)]
    # Two steps of warm-up, two more to the half, and half a cosine over four.
    expected = [0.5, 1, 1, 1, 1, (2 + 2**0.5) / 4, 0.5, (2 - 2**0.5) / 4]
    np.testing.assert_allclose([event.learning_rate / 1e-3 for event in second], expected)


def test_a_continued_training_starts_with_the_given_weights(tiny: Config) -> None:
    before, _ = run(tiny)
    config = tiny.replace({"training.steps": 5})
    state = continue_training(config, before.average.state_dict(), 3, CPU)
    for module in (state.network, state.average):
        assert torch.equal(weights(module), weights(before.average))
    assert not state.optimiser.state
    # Other patches than the first training had.
    assert not torch.equal(state.generator.get_state(), start(config, CPU).generator.get_state())
    kept = weights(before.average)
    assert [event.step for event in advance(state, config)] == [4, 5]
    assert not torch.equal(weights(state.network), kept)
    assert torch.equal(weights(before.average), kept)


def test_a_finished_training_does_nothing_more(tiny: Config) -> None:
    state, _ = run(tiny)
    kept = weights(state.network)
    assert advance(state, tiny) == []
    assert torch.equal(weights(state.network), kept)


def test_leaving_at_an_event_keeps_the_steps_made(tiny: Config) -> None:
    state = start(tiny, CPU)
    pool = load_pool(Planes(noisy_image(), "YX"), state.generator)
    events = train(state, patches(pool, 32, 2, state.generator), N2S, tiny.training)
    next(events)
    events.close()
    assert state.step == 1


def one_step(state: TrainingState, branch_weight: float) -> tuple[TrainingState, float]:
    """Make one step on a fixed batch without clipping; the state itself is left alone."""
    state = copy.deepcopy(state)
    noisy = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    config = TrainingConfig(steps=1, branch_weight=branch_weight, clip_norm=1e9)

    def everywhere(patch: torch.Tensor, _: torch.Generator) -> Sample:
        return Sample(patch, patch, torch.ones_like(patch))

    (event,) = train(state, [noisy], everywhere, config)
    return state, event.loss


def gradient(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in module.parameters()])


def test_branches_affect_the_gradient_not_the_reported_loss(tiny: Config) -> None:
    state = start(tiny, CPU)
    noisy = torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    network = copy.deepcopy(state.network)
    prediction = network(noisy)
    main, standard, equivariant = (
        ((part - noisy) ** 2).mean()
        for part in (prediction.denoised, prediction.standard, prediction.equivariant)
    )
    for weight in (0.0, 0.1, 2.0):
        stepped, loss = one_step(state, weight)
        network.zero_grad()
        (main + weight * (standard + equivariant)).backward(retain_graph=True)
        torch.testing.assert_close(
            gradient(stepped.network), gradient(network), rtol=1e-3, atol=1e-5
        )
        assert loss == pytest.approx(main.item(), rel=1e-5)
    alone, weighed = (gradient(one_step(state, weight)[0].network) for weight in (0.0, 2.0))
    assert not torch.allclose(alone, weighed, rtol=0.1, atol=1e-2)


def test_gradients_are_clipped_to_their_norm(tiny: Config) -> None:
    config = tiny.replace({"training.steps": 1, "training.clip_norm": 1e-3})
    state, _ = run(config)
    assert float(gradient(state.network).norm()) == pytest.approx(1e-3, rel=1e-3)


def test_bfloat16_trains_to_nearly_the_same_loss(tiny: Config) -> None:
    config = tiny.replace({"training.steps": 10})
    losses = {}
    for dtype in (torch.float32, torch.bfloat16):
        state = start(config, CPU)
        pool = load_pool(Planes(noisy_image(), "YX"), state.generator)
        batches = patches(pool, 32, 2, state.generator)
        events = list(train(state, batches, N2S, config.training, dtype))
        losses[dtype] = np.array([event.loss for event in events])
        assert all(parameter.dtype == torch.float32 for parameter in state.network.parameters())
    np.testing.assert_allclose(losses[torch.bfloat16], losses[torch.float32], rtol=0.25)
    assert losses[torch.bfloat16].mean() == pytest.approx(losses[torch.float32].mean(), rel=0.05)
    assert (losses[torch.bfloat16] != losses[torch.float32]).any()
