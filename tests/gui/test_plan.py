from types import SimpleNamespace

import torch

from napari_redenoise import Config
from napari_redenoise._napari.denoise import _plan_sentence


def plan(device: str) -> str:
    source = SimpleNamespace(describe=lambda: "cells", array=None, axes="YX", channels=1)
    denoiser = SimpleNamespace(device=torch.device(device), config=Config())
    applied = _plan_sentence.applying(source, denoiser, "cells.safetensors")
    trained = _plan_sentence.training(source, denoiser, "R2R", 20)
    assert applied.startswith("cells. Denoised on ")
    assert trained.startswith("cells. Fine-tunes the pretrained network")
    shared = "the processor (CPU)" if device == "cpu" else "the GPU"
    assert shared in applied
    assert shared in trained
    return applied + trained


def test_the_plan_says_why_a_gpu_is_not_used(monkeypatch) -> None:
    assert "cannot be used" not in plan("cpu")
    monkeypatch.setattr(
        _plan_sentence, "refused_devices", lambda: {"cuda:0": "its driver is old: renew it"}
    )
    assert plan("cpu").count("(cuda:0 cannot be used, its driver is old: renew it)") == 2
    assert "cannot be used" not in plan("cuda:1")
