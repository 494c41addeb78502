"""Which device is taken, and in which precision it computes; other devices are played."""

import numpy as np
import pytest
import tifffile
import torch

from napari_redenoise import Redenoiser, devices
from napari_redenoise.devices import get_device, refused_devices, training_dtype
from napari_redenoise.errors import DeviceError, is_out_of_memory

TOO_OLD = RuntimeError("CUDA error: no kernel image is available for execution on the device\nmore")
OLD_DRIVER = RuntimeError("The NVIDIA driver on your system is too old (found version 11040).")
FULL = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")
MISSING = NotImplementedError("The operator 'aten::x' is not implemented for the MPS device.")


@pytest.fixture
def machine(monkeypatch):
    """Two CUDA devices and an Apple GPU, which fail with what stands here; tells what was tried."""
    errors: dict[str, BaseException] = {}
    tried: list[str] = []

    def step(device: torch.device) -> None:
        tried.append(str(device))
        if str(device) in errors:
            raise errors[str(device)]

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(devices, "_trials", {})
    monkeypatch.setattr(devices, "_step", step)
    return errors, tried


@pytest.mark.parametrize("name", [None, "auto"])
def test_the_fastest_device_is_tried_once_and_taken(machine, name) -> None:
    _, tried = machine
    assert {get_device(name) for _ in range(3)} == {torch.device("cuda:0")}
    assert tried == ["cuda:0"]
    assert refused_devices() == {}


def test_a_device_that_fails_its_trial_is_skipped_with_a_reason(machine) -> None:
    errors, tried = machine
    errors |= {"cuda:0": TOO_OLD, "cuda:1": OLD_DRIVER, "mps": MISSING}
    for _ in range(2):
        assert get_device() == torch.device("cpu")
    assert tried == ["cuda:0", "cuda:1", "mps"]
    assert refused_devices() == {
        "cuda:0": "the installed torch does not support this GPU: install a build of torch that "
        "does",
        "cuda:1": "its driver does not match the installed torch: update the driver, or install "
        "a matching build of torch",
        "mps": "a trial step fails (The operator 'aten::x' is not implemented for the MPS device): "
        "update torch and the driver",
    }
    assert Redenoiser().device == torch.device("cpu")


def test_the_next_device_is_taken_before_the_processor(machine) -> None:
    errors, _ = machine
    errors["cuda:0"] = TOO_OLD
    assert get_device() == torch.device("cuda:1")


def test_memory_in_use_is_a_reason_until_it_is_free(machine) -> None:
    errors, tried = machine
    errors["cuda:0"] = FULL
    assert get_device() == torch.device("cuda:1")
    assert refused_devices() == {"cuda:0": "its memory is full: close other programs that use it"}
    del errors["cuda:0"]
    assert get_device() == torch.device("cuda:0")
    assert refused_devices() == {}
    assert tried == ["cuda:0", "cuda:1", "cuda:0"]


@pytest.mark.parametrize("name", ["cuda", "cuda:0"])
def test_a_device_asked_for_by_name_is_not_replaced(machine, name: str) -> None:
    errors, _ = machine
    errors["cuda:0"] = TOO_OLD
    with pytest.raises(
        DeviceError, match=f"^device '{name}' cannot be used, .*: install .*'auto'$"
    ):
        get_device(name)
    assert get_device("cuda:1") == torch.device("cuda:1")


def test_the_trial_is_a_step_that_works_where_training_does() -> None:
    assert devices._trial("cpu") is None
    with torch.inference_mode():
        assert devices._trial("cpu") is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_an_unreachable_device_fails_its_trial_with_a_reason() -> None:
    reason = devices._trial("cuda:0")
    assert reason is not None
    assert ": " in reason
    assert "\n" not in reason


def test_the_command_line_says_what_cannot_be_used(machine, redenoise, noisy, tmp_path) -> None:
    errors, _ = machine
    errors |= dict.fromkeys(("cuda:0", "cuda:1", "mps"), TOO_OLD)
    image, out = tmp_path / "noisy.tif", tmp_path / "out.tif"
    tifffile.imwrite(image, noisy)
    status, _, said = redenoise("denoise", image, out, "--steps", 0)
    assert status == 0
    assert (
        "cuda:0 cannot be used, the installed torch does not support this GPU: install a build of "
        "torch that does; computing on cpu\n"
    ) in said
    assert np.isfinite(tifffile.imread(out)).all()
    status, _, said = redenoise("denoise", image, out, "--overwrite", "--device", "cuda:1")
    assert status == 1
    assert said.startswith("redenoise: device 'cuda:1' cannot be used, ")
    assert len(said.splitlines()) == 1


CAPABILITIES = {"cuda:0": (7, 5), "cuda:1": (8, 0), "cuda:2": (6, 1), "cuda:3": (9, 0)}


@pytest.mark.parametrize("name", CAPABILITIES)
def test_bfloat16_is_used_on_devices_that_support_it(monkeypatch, name: str) -> None:
    monkeypatch.setattr(
        torch.cuda, "get_device_capability", lambda device: CAPABILITIES[str(device)]
    )
    # What torch says of the current device, with emulation.
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_, **__: True)
    expected = torch.bfloat16 if name in ("cuda:1", "cuda:3") else torch.float32
    assert training_dtype(torch.device(name)) == expected
    assert training_dtype(torch.device(name), "bfloat16") == torch.bfloat16
    assert training_dtype(torch.device(name), "float32") == torch.float32


@pytest.mark.parametrize(
    "error",
    [
        FULL,
        MemoryError(),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9.06 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_every_library_says_in_its_words_that_memory_is_missing(error: BaseException) -> None:
    assert is_out_of_memory(error)


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("out of memory")])
def test_other_errors_are_not_about_memory(error: BaseException) -> None:
    assert not is_out_of_memory(error)
