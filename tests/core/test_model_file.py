import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from napari_redenoise import Config
from napari_redenoise.data import Normalisation
from napari_redenoise.errors import ModelFileError, OutputError
from napari_redenoise.io import load_model, save_model
from napari_redenoise.nn import DenoisingNetwork, build_network

UNITS = Normalisation((100.0, 0.1), (7.0, 1e-3))
PROVENANCE = {"steps": 12, "device": "cpu", "loss": 0.25}


@pytest.fixture
def config(tiny: Config) -> Config:
    return tiny.replace({"network.channels": 2, "network.group": "C8"})


@pytest.fixture
def network(config: Config) -> DenoisingNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = build_network(config.network)
        for parameter in made.parameters():
            parameter.data += 0.02 * torch.randn_like(parameter)
    return made.eval()


@pytest.fixture
def path(tmp_path: Path, network, config) -> Path:
    return save_model(tmp_path / "model.safetensors", network, config, UNITS, PROVENANCE)


def predictions(network: DenoisingNetwork) -> torch.Tensor:
    x = torch.randn(1, 2, 36, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return torch.cat(list(network(x)), 1)


def test_a_loaded_model_predicts_the_same_to_the_last_bit(path: Path, network, config) -> None:
    loaded, its_config, normalisation, provenance, _ = load_model(path)
    torch.testing.assert_close(predictions(loaded), predictions(network), rtol=0, atol=0)
    assert its_config == config
    assert normalisation == UNITS
    assert provenance == PROVENANCE
    assert not any(module.training for module in loaded.modules())


def test_the_header_holds_the_configuration_as_json(path: Path, config: Config) -> None:
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    assert json.loads(header["config"]) == config.model_dump(mode="json")
    assert json.loads(header["provenance"]) == PROVENANCE
    assert header["format"] == "napari-redenoise/1"


def test_another_basis_of_the_same_filters_predicts_the_same(
    path: Path, network: DenoisingNetwork
) -> None:
    # Another machine's decomposition may rotate the functions inside their span.
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    bases = [name for name in tensors if name.endswith("basis")]
    assert len(bases) > 5
    random = np.random.default_rng(0)
    for name in bases:
        basis, weight = tensors[name], tensors[name.replace("basis", "weight")]
        rotation = np.linalg.qr(random.normal(size=(basis.shape[1],) * 2))[0]
        rotation = torch.from_numpy(rotation).float()
        tensors[name] = torch.einsum("ab,gbk->gak", rotation, basis).contiguous()
        tensors[name.replace("basis", "weight")] = (weight @ rotation.T).contiguous()
        assert not torch.allclose(tensors[name], basis, atol=1e-2)
    save_file(tensors, path, header)
    expected = predictions(network)
    atol = 1e-5 * float(expected.std())
    torch.testing.assert_close(predictions(load_model(path)[0]), expected, rtol=1e-5, atol=atol)


def test_loading_leaves_the_global_generator_alone(path: Path) -> None:
    before = torch.get_rng_state()
    load_model(path)
    assert torch.equal(torch.get_rng_state(), before)


def test_an_existing_file_is_not_overwritten_unless_allowed(path: Path, network, config) -> None:
    before = path.read_bytes()
    with pytest.raises(OutputError, match="exists already: choose another name"):
        save_model(path, network, config, UNITS)
    assert path.read_bytes() == before
    save_model(path, network, config, UNITS, overwrite=True)
    assert path.read_bytes() != before
    assert load_model(path)[3] == {}


def test_nothing_but_the_model_is_left_in_the_folder(path: Path) -> None:
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_keeps_the_file_that_was_there(
    path: Path, network, config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    before = path.read_bytes()
    monkeypatch.setattr("napari_redenoise.io._model_file.save_file", full)
    with pytest.raises(OutputError, match="no space left"):
        save_model(path, network, config, UNITS, overwrite=True)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_folders_are_made_as_needed(tmp_path: Path, network, config) -> None:
    written = save_model(tmp_path / "a" / "b" / "model.safetensors", network, config, UNITS)
    assert written.is_file()


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"no model file .*gone.safetensors: check the name"):
        load_model(tmp_path / "gone.safetensors")


@pytest.mark.parametrize("kept", [0, 7, 8, 300, 5000, -1])
def test_a_truncated_file_is_refused(path: Path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ModelFileError, match="cannot be read as a safetensors file"):
        load_model(path)


class Bomb:
    def __reduce__(self) -> tuple:
        return (pytest.fail, ("the file was unpickled",))


@pytest.mark.parametrize("dump", [torch.save, lambda obj, p: p.write_bytes(pickle.dumps(obj))])
def test_a_pickled_file_is_refused_and_not_unpickled(tmp_path: Path, dump) -> None:
    path = tmp_path / "model.safetensors"
    dump({"weight": torch.zeros(3), "bomb": Bomb()}, path)
    with pytest.raises(ModelFileError, match="cannot be read as a safetensors file"):
        load_model(path)


@pytest.mark.parametrize("header", [None, {"format": "pt"}, {"format": "napari-redenoise/2"}])
def test_safetensors_of_other_programs_are_refused(tmp_path: Path, header) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path, header)
    with pytest.raises(ModelFileError, match=r"not a model of this version.*choose another file"):
        load_model(path)


def rewrite(path: Path, tensors: dict | None = None, **header: str | None) -> None:
    """Change header entries (None removes one) or tensors of a model file."""
    with safe_open(path, framework="pt") as file:
        merged = {**file.metadata(), **header}
    kept = {key: value for key, value in merged.items() if value is not None}
    save_file(load_file(path) if tensors is None else tensors, path, kept)


@pytest.mark.parametrize(
    "header",
    [
        {"config": None},
        {"config": "{"},
        {"config": '{"network": {"levels": 99}}'},
        {"config": "{}"},  # a valid configuration, of another network
        {"normalisation": None},
        {"normalisation": "3"},
        {"normalisation": '{"mean": [1.0]}'},
        {"normalisation": '{"mean": 1, "std": 2}'},
        {"normalisation": '{"mean": [1.0], "std": [2.0]}'},  # the network has two channels
        {"normalisation": '{"mean": ["a", "b"], "std": [1.0, 2.0]}'},
        {"provenance": "{"},
        {"provenance": "3"},
    ],
)
def test_a_file_that_does_not_fit_its_description_is_refused(path: Path, header: dict) -> None:
    rewrite(path, **header)
    with pytest.raises(ModelFileError, match="does not fit its own description"):
        load_model(path)


def test_a_file_that_lacks_a_tensor_is_refused(path: Path) -> None:
    tensors = load_file(path)
    tensors.popitem()
    rewrite(path, tensors)
    with pytest.raises(ModelFileError, match="does not fit its own description"):
        load_model(path)
