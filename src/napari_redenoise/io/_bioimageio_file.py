"""Models as packages of the BioImage Model Zoo, specification 0.5."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from napari_redenoise import __version__
from napari_redenoise.config import NetworkConfig
from napari_redenoise.io._bioimageio_parts import (
    documentation,
    sample_image,
    torchscript,
    write_cover,
)
from napari_redenoise.io._model_file import ModelFile
from napari_redenoise.io._output_names import check_output
from napari_redenoise.io._safe_writing import write_atomically
from napari_redenoise.nn import DeployedNetwork, receptive_radius, total_stride

_FORMAT = "0.5.3"
"""Not the newest: other tools read packages by older libraries of the zoo."""

_DESCRIPTION = "rdf.yaml"
_REPOSITORY = "https://github.com/napari-redenoise/napari-redenoise"
_PAPER = {
    "text": "H. Liu, J. Fu, Q. Xie, D. Meng: Rotation-Equivariant Self-Supervised Method in Image "
    "Denoising. CVPR 2025, arXiv 2505.19618.",
    "url": "https://arxiv.org/abs/2505.19618",
}
_ENVIRONMENT = """name: napari-redenoise
channels:
  - conda-forge
dependencies:
  - pip
  - pip:
      - napari-redenoise
"""


def export_bioimageio(
    path: str | Path,
    model: ModelFile,
    *,
    cautions: tuple[str, ...] = (),
    overwrite: bool = False,
) -> str:
    """Write a model as a package of the BioImage Model Zoo.

    The package holds the weights twice: as TorchScript, which needs only torch, and as a state
    dict for `deployed_network`. Input and output are grey levels, see `DeployedNetwork`. A sample
    of both, a cover and a documentation are in it. It appears under its name when it is complete.

    Parameters
    ----------
    path : path
        Ends in ``.zip``.
    model : ModelFile
        From `load_model`.
    cautions : tuple of str
        What the package does not do, for its documentation.
    overwrite : bool

    Returns
    -------
    str
        A description of input and output.

    Raises
    ------
    OutputError
        When the name does not end in ``.zip``, or the file exists and ``overwrite`` is not set.
    """
    path = Path(path)
    check_output(path, "bioimageio", overwrite=overwrite)
    words = _words(model.config.network)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_parts(folder, model, words, cautions)
        description = yaml.safe_dump(_description(folder, model), sort_keys=False)
        (folder / _DESCRIPTION).write_text(description, encoding="utf-8")
        files = sorted(folder.iterdir())
        size = sum(file.stat().st_size for file in files)
        with (
            write_atomically(path, overwrite=overwrite, needs=size) as partial,
            zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as package,
        ):
            for file in files:
                package.write(file, file.name)
    return words


def _halo(config: NetworkConfig) -> int:
    """Receptive radius in pixels, rounded up to a multiple of the stride."""
    stride = total_stride(config)
    return -(-receptive_radius(config) // stride) * stride


def _words(config: NetworkConfig) -> str:
    return (
        f"input and output are grey levels, float32 with the axes batch, channel "
        f"({config.channels}), y and x"
    )


def _write_parts(folder: Path, model: ModelFile, words: str, cautions: tuple[str, ...]) -> None:
    """Write every file of the package but its description."""
    normalisation = model.normalisation
    network = DeployedNetwork(model.network, normalisation.mean, normalisation.std).eval()
    stride = network.stride
    noisy = sample_image(normalisation, 2 * _halo(model.config.network) + stride)
    with torch.no_grad():
        denoised = network(torch.from_numpy(noisy)).numpy()
    np.save(folder / "input.npy", noisy)
    np.save(folder / "output.npy", denoised)
    write_cover(folder / "cover.png", noisy, denoised)
    script = torchscript(network, torch.from_numpy(noisy[..., : 2 * stride + 1, : 3 * stride]))
    (folder / "torchscript.pt").write_bytes(script)
    torch.save(network.state_dict(), folder / "weights.pt")
    (folder / "environment.yaml").write_text(_ENVIRONMENT)
    readme = documentation(words, model.provenance, model.plan, cautions)
    (folder / "README.md").write_text(readme, encoding="utf-8")


def _description(folder: Path, model: ModelFile) -> dict[str, Any]:
    """The description of a package whose files lie in a folder."""
    config, normalisation = model.config.network, model.normalisation
    version = torch.__version__.partition("+")[0]
    architecture = {
        "import_from": "napari_redenoise.nn",
        "callable": "deployed_network",
        "kwargs": {
            "network": config.model_dump(mode="json"),
            "mean": list(normalisation.mean),
            "std": list(normalisation.std),
        },
    }
    return {
        "type": "model",
        "format_version": _FORMAT,
        "name": f"AdaReNet denoising ({config.kind} {config.group})",
        "description": "Self-supervised denoising with a rotation-equivariant network.",
        "authors": [{"name": "the napari-redenoise developers"}],
        "cite": [_PAPER],
        "license": "BSD-3-Clause",
        "git_repo": _REPOSITORY,
        "tags": ["denoising", "self-supervised", "rotation-equivariant", "pytorch", "2d"],
        # Without checksums, which these two have since 0.5.12 only.
        "covers": ["cover.png"],
        "documentation": "README.md",
        "inputs": [_tensor(folder, config, is_input=True)],
        "outputs": [_tensor(folder, config, is_input=False)],
        "config": {"redenoise": {"version": __version__}},
        "weights": {
            "pytorch_state_dict": {
                **_file(folder / "weights.pt"),
                "pytorch_version": version,
                "architecture": architecture,
                "dependencies": _file(folder / "environment.yaml"),
            },
            "torchscript": {
                **_file(folder / "torchscript.pt"),
                "pytorch_version": version,
                "parent": "pytorch_state_dict",
            },
        },
    }


def _file(path: Path) -> dict[str, str]:
    return {"source": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _tensor(folder: Path, config: NetworkConfig, *, is_input: bool) -> dict[str, Any]:
    """Describe input or output: axes, sizes and sample."""
    name = "input" if is_input else "output"
    stride = total_stride(config)
    halo = _halo(config)
    channels = [f"channel{number}" for number in range(config.channels)]
    axes: list[dict[str, Any]] = [
        {"type": "batch"},
        {"type": "channel", "channel_names": channels},
    ]
    for axis in "yx":
        # Tiles overlap by the halo and begin at multiples of the stride: their results agree.
        size: dict[str, Any] = {"size": {"min": 2 * halo + stride, "step": stride}}
        if not is_input:
            size = {"size": {"tensor_id": "input", "axis_id": axis}, "halo": halo}
        axes.append({"type": "space", "id": axis, **size})
    return {
        "id": name,
        "description": f"{'noisy' if is_input else 'denoised'} grey levels",
        "axes": axes,
        "test_tensor": _file(folder / f"{name}.npy"),
        "data": {"type": "float32"},
    }
