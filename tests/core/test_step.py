"""Steps that do not go as usual: memory that does not suffice, graphs that cannot be recorded."""

from collections.abc import Callable

import numpy as np
import pytest
import tifffile
import torch

from napari_redenoise import Config, Redenoiser
from napari_redenoise.errors import DeviceError
from napari_redenoise.nn import AdaReNet
from napari_redenoise.objectives import Neighbor2Neighbor, Noise2Self, Objective, Sample
from napari_redenoise.training import UNRECORDED_STEPS, TrainingState, _step, start, train

CPU = torch.device("cpu")
FULL = "DefaultCPUAllocator: can't allocate memory"


def batches(count: int, patches: int, side: int = 32) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(patches, 1, side, side, generator=generator) for _ in range(count)]


def weights(state: TrainingState) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in state.network.parameters()])


def trained(config: Config, given: list[torch.Tensor], objective: Objective) -> tuple:
    state = start(config, CPU)
    return state, list(train(state, given, objective, config.training))


@pytest.fixture
def memory(monkeypatch) -> Callable[[int], list[int]]:
    """Let the network take no more patches than some; returns how many it was given."""

    def limit(most: int) -> list[int]:
        seen: list[int] = []
        forward = AdaReNet.forward

        def limited(self, image):
            if torch.is_grad_enabled():
                seen.append(len(image))
            if len(image) > most:
                raise RuntimeError(FULL)
            return forward(self, image)

        monkeypatch.setattr(AdaReNet, "forward", limited)
        return seen

    return limit


@pytest.mark.parametrize("objective", [Noise2Self(4), Neighbor2Neighbor()])
def test_patches_are_halved_when_memory_is_insufficient(
    tiny: Config, memory, objective: Objective
) -> None:
    config = tiny.replace({"training.steps": 5})
    seen = memory(2)
    state, events = trained(config, batches(5, 8), objective)
    assert seen == [8, 4, 2, 2, 2, 2, 2]
    assert [event.step for event in events] == [1, 2, 3, 4, 5]
    assert [event.patches for event in events] == [2] * 5
    assert state.patches == 2
    assert [event.note for event in events[1:]] == [None] * 4
    assert events[0].note == (
        "the memory of cpu is too small for 8 patches per step, training continues with 2: "
        "choose smaller patches for more of them"
    )


def test_every_step_is_made_once_on_the_first_of_the_patches(tiny: Config, memory) -> None:
    config = tiny.replace({"training.steps": 4})

    def everywhere(patches: torch.Tensor, _: torch.Generator) -> Sample:
        return Sample(patches, patches, torch.ones_like(patches))

    given = batches(4, 5)
    expected, _ = trained(config, [batch[:2] for batch in given], everywhere)
    memory(2)
    state, _ = trained(config, given, everywhere)
    assert torch.equal(weights(state), weights(expected))
    moments = state.optimiser.state_dict()["state"]
    assert {float(one["step"]) for one in moments.values()} == {4.0}


def test_memory_that_ends_later_keeps_earlier_steps(tiny: Config, memory) -> None:
    config = tiny.replace({"training.steps": 4})
    state = start(config, CPU)
    events = train(state, batches(4, 4), Noise2Self(4), config.training)
    assert [next(events).patches for _ in range(2)] == [4, 4]
    kept = state.losses[:2]
    memory(1)
    assert [(event.patches, event.note is None) for event in events] == [(1, False), (1, True)]
    assert state.losses[:2] == kept


def test_one_patch_that_does_not_fit_is_the_end(tiny: Config, memory) -> None:
    seen = memory(0)
    with pytest.raises(RuntimeError, match=FULL):
        trained(tiny, batches(3, 5), Noise2Self(4))
    assert seen == [5, 2, 1]


def test_other_errors_are_not_tried_again(tiny: Config, monkeypatch) -> None:
    calls = []

    def forward(self, image):
        calls.append(len(image))
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(AdaReNet, "forward", forward)
    with pytest.raises(RuntimeError, match="shapes differ"):
        trained(tiny, batches(3, 4), Noise2Self(4))
    assert calls == [4]


def test_a_model_says_of_how_many_patches_its_steps_were(tiny: Config, noisy, memory) -> None:
    config = tiny.replace({"training.batch_size": 4})
    model = Redenoiser(config, "cpu").fit(noisy)
    assert model.session.provenance["batch_size"] == 4
    memory(2)
    model = Redenoiser(config, "cpu")
    notes = [event.note for event in model.fit_events(noisy)]
    assert len([note for note in notes if note]) == 1
    assert model.session.provenance["batch_size"] == 2
    # Continuing, nobody is told again.
    assert not any(event.note for event in model.fit_events(noisy, resume=True, steps=2))
    assert model.session.provenance["batch_size"] == 2
    memory(0)
    with pytest.raises(DeviceError, match="cpu ran out of memory: choose a smaller patch"):
        Redenoiser(config, "cpu").fit(noisy)


def test_the_command_line_says_so_too(
    redenoise, noisy: np.ndarray, memory, tmp_path, tiny: Config
) -> None:
    tifffile.imwrite(tmp_path / "noisy.tif", noisy)
    memory(4)
    settings = ("network.levels=2", "network.encoder_width=8", "training.patch_size=32")
    fields = [word for setting in settings for word in ("--set", setting)]
    status, _, said = redenoise(
        *("denoise", tmp_path / "noisy.tif", tmp_path / "out.tif"),
        *("--from-scratch", "--steps", 2, "--objective", "noise2self", *fields),
    )
    assert status == 0
    assert said.count("training continues with 4") == 1


# -- graphs ------------------------------------------------------------------------------------


class Recorder:
    """Stands for a recorded graph on a machine without CUDA: replays what it was made of."""

    made = 0

    def __init__(self, sample: Sample, compute: Callable, stream: object) -> None:
        type(self).made += 1
        self._compute, self._shape = compute, sample.input.shape

    def fits(self, sample: Sample) -> bool:
        return sample.input.shape == self._shape

    def __call__(self, sample: Sample) -> torch.Tensor:
        return self._compute(sample)


def failing(error: Exception) -> type[Recorder]:
    class Failing(Recorder):
        made = 0

        def __init__(self, *arguments) -> None:
            super().__init__(*arguments)
            raise error

    return Failing


@pytest.fixture
def recorded(monkeypatch):
    """Record steps with a class as on CUDA."""

    def use(recorder: type[Recorder]) -> type[Recorder]:
        monkeypatch.setattr(_step.Step, "_can_record", lambda self, sample: True)
        monkeypatch.setattr(_step, "_Recorded", recorder)
        recorder.made = 0
        return recorder

    return use


ERRORS = [
    RuntimeError("CUDA error: operation not permitted when stream is capturing"),
    torch.OutOfMemoryError("CUDA out of memory"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_where_recording_fails_steps_are_made_as_usual(tiny: Config, recorded, error) -> None:
    config = tiny.replace({"training.steps": UNRECORDED_STEPS + 4})
    given = batches(UNRECORDED_STEPS + 4, 2)
    expected, plain = trained(config, given, Noise2Self(4))
    recorder = recorded(failing(error))
    state, events = trained(config, given, Noise2Self(4))
    # Once, and never again.
    assert recorder.made == 1
    assert [event.loss for event in events] == [event.loss for event in plain]
    assert torch.equal(weights(state), weights(expected))
    assert {event.patches for event in events} == {2}
    assert state.step == UNRECORDED_STEPS + 4
    moments = state.optimiser.state_dict()["state"]
    assert {float(one["step"]) for one in moments.values()} == {UNRECORDED_STEPS + 4.0}


def test_what_can_be_recorded_is_recorded_once(tiny: Config, recorded) -> None:
    config = tiny.replace({"training.steps": UNRECORDED_STEPS + 4})
    given = batches(UNRECORDED_STEPS + 4, 2)
    expected, _ = trained(config, given, Noise2Self(4))
    recorder = recorded(Recorder)
    state, _ = trained(config, given, Noise2Self(4))
    assert recorder.made == 1
    torch.testing.assert_close(weights(state), weights(expected))


def test_errors_that_are_not_of_torch_are_not_hidden(tiny: Config, recorded) -> None:
    recorded(failing(ValueError("a mistake")))
    with pytest.raises(ValueError, match="a mistake"):
        trained(tiny.replace({"training.steps": 9}), batches(9, 2), Noise2Self(4))


def test_smaller_steps_are_recorded_after_memory_has_ended(tiny: Config, recorded, memory) -> None:
    config = tiny.replace({"training.steps": 12})
    recorder = recorded(Recorder)
    memory(4)
    state = start(config, CPU)
    events = train(state, batches(12, 4), Noise2Self(4), config.training)
    assert [next(events).patches for _ in range(5)] == [4] * 5
    assert recorder.made == 1
    memory(2)
    assert [event.patches for event in events] == [2] * 7
    assert recorder.made == 2
