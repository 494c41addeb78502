from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch

from napari_redenoise import Config
from napari_redenoise._napari._layers import LayerImage
from napari_redenoise._napari.denoise import _plan_sentence
from napari_redenoise._napari.denoise._plan_sentence import (
    ChosenObjective,
    choose_objective,
    summarise_prediction,
    summarise_training,
)
from napari_redenoise._napari.denoise.panels._objective import OBJECTIVES
from napari_redenoise.config import ObjectiveKind
from napari_redenoise.model import Corrections

R2R = ChosenObjective("R2R, which suits the noise")
SCRATCH = Config().replace({"training.start": "random"})


def denoiser(config=None, device="cpu"):
    return SimpleNamespace(device=torch.device(device), config=config or Config())


@pytest.fixture
def image():
    return LayerImage("cells", np.zeros((128, 96)), "YX")


@pytest.fixture
def stack():
    return LayerImage("cells", np.zeros((6, 128, 96)), "SYX")


def test_the_summary_of_an_image(image) -> None:
    assert summarise_training(image, denoiser(), R2R, 120) == (
        "Image of 128 × 96 pixels. Fine-tunes the pretrained network on this image (objective: "
        "R2R, which suits the noise). About 2 min on the CPU."
    )


def test_the_summary_of_a_stack(stack) -> None:
    assert summarise_training(stack, denoiser(SCRATCH), R2R, None) == (
        "Stack of 6 images, 128 × 96 pixels; the network learns from all. Trains a new network on "
        "this stack (objective: R2R, which suits the noise). Runs on the CPU."
    )


@pytest.mark.parametrize(
    ("region", "words"),
    [
        ("slice", "pixels; the network learns from the slice shown."),
        ("region", "pixels; the network learns from the marked region."),
    ],
)
def test_the_summary_names_the_training_region(stack, region, words) -> None:
    said = summarise_training(stack, denoiser(), R2R, 20, region)
    assert words in said
    assert "learns from all." not in said


@pytest.mark.parametrize(
    ("corrections", "words"),
    [
        (("none", 0), "suits the noise). About"),
        (("rows", 0), "suits the noise). Row stripes are removed first. About"),
        (("both", 0), "suits the noise). Row and column stripes are removed first. About"),
        (("none", 1), "suits the noise). Noise of several pixels is removed first. About"),
        (("rows", 2), ". Row stripes and noise of several pixels are removed first. About"),
    ],
)
def test_the_summary_names_the_corrections(image, corrections, words) -> None:
    objective = R2R._replace(corrections=Corrections(*corrections))
    assert words in summarise_training(image, denoiser(), objective, 20)


def test_the_summary_says_that_training_is_left_out(image) -> None:
    objective = ChosenObjective("", "", Corrections("none", 1))
    said = summarise_training(image, denoiser(), objective, 4, is_left_out=True)
    assert "Denoises with the pretrained network as it is, because fine-tuning does" in said
    assert "Noise of several pixels is removed first. About 4 s" in said


def test_the_summary_of_a_prediction_does_not_mention_training(stack) -> None:
    assert summarise_prediction(stack, denoiser(), "cells.safetensors") == (
        "Stack of 6 images, 128 × 96 pixels. Denoises with the network cells.safetensors, without "
        "training, on the CPU."
    )


def test_a_chosen_objective_needs_no_reason() -> None:
    assert choose_objective("noise2void", None, None, fine_tuning=True) == (
        "Noise2Void",
        "",
        Corrections(),
    )


def test_an_objective_without_a_measurement_is_left_open() -> None:
    chosen = choose_objective("auto", None, None, fine_tuning=True)
    assert chosen == ("chosen to suit the noise", "", Corrections())


def test_the_summary_says_why_a_gpu_is_not_used(monkeypatch, image) -> None:
    def summaries(device: str) -> str:
        model = denoiser(device=device)
        trained = summarise_training(image, model, R2R, 20)
        return trained + summarise_prediction(image, model, "cells.safetensors")

    assert "cannot be used" not in summaries("cpu")
    monkeypatch.setattr(
        _plan_sentence, "refused_devices", lambda: {"cuda:0": "its driver is old: renew it"}
    )
    assert summaries("cpu").count("(cuda:0 cannot be used, its driver is old: renew it)") == 2
    assert "cannot be used" not in summaries("cuda:1")
    assert summaries("cuda:1").count("on the GPU.") == 2


def test_the_dock_offers_every_objective() -> None:
    assert set(OBJECTIVES) == set(get_args(ObjectiveKind))
