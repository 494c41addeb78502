"""The weights that come with the package: what they are, and that they denoise."""

import hashlib

import numpy as np
import pytest
import skimage.data
import torch

from napari_redenoise import Config, Redenoiser
from napari_redenoise.io import load_model
from napari_redenoise.metrics import psnr
from napari_redenoise.model._pretrained import FOLDER, has_pretrained_weights, weights_file
from napari_redenoise.recipes.pretraining import LICENCES

SUMS = {
    "adarenet-C4-stack.safetensors": (
        "6b6fa5f9d8fa075cf89894d94977957f67c756831d83da7278e0f9860ef2db80"
    ),
    "adarenet-C4.safetensors": "1605c2fe3b9b9a60c9fcf10cb1d684584daca97269bd7d9a3781ad60b7592019",
}
MOST_BYTES = 8 * 10**6
shipped = pytest.mark.parametrize("name", SUMS)


def test_these_and_no_others_are_shipped_and_small_enough() -> None:
    files = list(FOLDER.glob("*.safetensors"))
    assert sorted(path.name for path in files) == sorted(SUMS)
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES


@shipped
def test_the_weights_are_those_that_were_measured(name: str) -> None:
    whole = hashlib.sha256()
    for _, tensor in sorted(load_model(FOLDER / name).network.state_dict().items()):
        whole.update(tensor.numpy().tobytes())
    assert whole.hexdigest() == SUMS[name]


@shipped
def test_the_header_names_the_training_data(name: str) -> None:
    _, config, normalisation, provenance, *_ = load_model(FOLDER / name)
    assert weights_file(config.network).name == name
    assert (normalisation.mean, normalisation.std) == ((0.0,), (1.0,))
    assert provenance["recipe"]["scenes"] > 0
    assert set(provenance["pictures"]) == {f"scikit-image {picture}" for picture in LICENCES}
    assert provenance["steps"] == config.training.total_steps
    assert "seed" in provenance["config"]["training"]


def test_the_default_network_has_pretrained_weights() -> None:
    assert has_pretrained_weights(Config().network)


@shipped
def test_weights_are_half_precision_and_compute_in_single(name: str) -> None:
    network, *_ = load_model(FOLDER / name)
    for _, value in network.named_parameters():
        assert value.dtype == torch.float32
        assert torch.equal(value, value.half().float())


@shipped
def test_the_equivariant_branch_is_equivariant_in_any_basis(name: str) -> None:
    """The basis travels in the file; that of another linear-algebra library may be turned."""
    network, config, *_ = load_model(FOLDER / name)
    branch = getattr(network, "equivariant_branch", None) or network.branch
    x = torch.randn(1, config.network.inputs, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        turned, plain = branch(torch.rot90(x, 1, (2, 3))), torch.rot90(branch(x), 1, (2, 3))
    assert float((turned - plain).norm() / plain.norm()) < 1e-4


@pytest.mark.parametrize(("photons", "least"), [(5.0, 10.0), (30.0, 5.0), (200.0, -0.3)])
def test_without_training_they_denoise_an_unseen_image(photons, least) -> None:
    """Where there is hardly any noise, fine texture is what there is to lose."""
    clean = skimage.data.coins()[:256, :256] / 255.0
    noisy = np.random.default_rng(0).poisson(photons * clean).astype(np.float32) / photons
    model = Redenoiser(Config().replace({"training.steps": 0}), "cpu").fit(noisy)
    denoised = model.predict(noisy).denoised
    assert psnr(denoised, clean, 1.0) - psnr(noisy, clean, 1.0) > least
    assert abs(denoised.mean() - noisy.mean()) < 0.005
