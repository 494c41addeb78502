"""``redenoise denoise --set``: any field of the configuration."""

import numpy as np
import pytest
import tifffile

from napari_redenoise import Config, Redenoiser
from napari_redenoise._cli._app import assigned

TINY = (
    "network.levels=2",
    "network.encoder_width=8",
    "network.decoder_width=16",
    "training.patch_size=32",
    "training.batch_size=2",
    "training.precision=float32",
)


@pytest.fixture
def denoise(redenoise, noisy, tmp_path):
    tifffile.imwrite(tmp_path / "noisy.tif", noisy)

    def call(*arguments):
        return redenoise("denoise", tmp_path / "noisy.tif", tmp_path / "out.tif", *arguments)

    return call


def options(*assignments):
    return [word for text in assignments for word in ("--set", text)]


def test_fields_are_set_and_determine_the_result(denoise, tiny, noisy, tmp_path):
    words = options(*TINY, "network.group=D4", 'objective.mask_shape=["111"]')
    model = tmp_path / "m.safetensors"
    status, _, errors = denoise(
        *words, *("--objective", "noise2void", "--steps", 3, "--device", "cpu"),
        *("--from-scratch", "--save-model", model),
    )  # fmt: skip
    assert status == 0, errors
    changes = {"network.group": "D4", "objective.kind": "noise2void"}
    config = tiny.replace({**changes, "objective.mask_shape": ("111",)})
    assert Redenoiser.load(model).config == config
    expected = Redenoiser(config, device="cpu").fit(noisy).predict(noisy).denoised
    np.testing.assert_allclose(tifffile.imread(tmp_path / "out.tif"), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (options("network.depth=3"), "there is no field network.depth"),
        (options("network=3"), "there is no field network:"),
        (options("objective.noise.depth=3"), "there is no field objective.noise.depth"),
        (options("training.steps"), "give FIELD=VALUE"),
        (options("training.steps=many"), "training.steps: "),
        (options("network.levels=9"), "network.levels: "),
        (options("training.seed=null"), "training.seed: "),
        ([*options("training.steps=3"), "--steps", 3], "training.steps is set twice"),
        (options("training.seed=3", "training.seed=4"), "training.seed is set twice"),
        ([*options("objective.noise={}"), "--noise", "1,0,0"], "objective.noise is set twice"),
        ([*options("network.group=D4"), "--model", "m.safetensors"], "--model does not train"),
    ],
)
def test_mistakes_are_answered_with_one_sentence(denoise, tmp_path, arguments, words):
    status, _, said = denoise(*arguments)
    assert status == 1
    assert words in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out.tif").exists()


def test_the_noise_is_set_by_its_fields() -> None:
    found = assigned(["objective.noise.gain=2.5", "objective.noise.read_noise=[1, 2]"], ())
    assert found == {"objective.noise.gain": [2.5], "objective.noise.read_noise": [1, 2]}
    assert Config().replace({"objective.kind": "r2r", **found}).objective.noise.gain == (2.5,)
