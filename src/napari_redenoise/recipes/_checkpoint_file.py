"""Checkpoint files, from which a training resumes as if it had not been interrupted."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from napari_redenoise.config import Config, FolderConfig
from napari_redenoise.errors import ModelFileError, error_text
from napari_redenoise.io import write_atomically
from napari_redenoise.training import TrainingState

FORMAT = "napari-redenoise-checkpoint/1"


def save_checkpoint(path: str | Path, state: TrainingState, settings: str) -> Path:
    """Write weights, their average, the optimiser, the random generator and the losses.

    Parameters
    ----------
    path : path
        Replaced if it exists.
    state : TrainingState
    settings : str
        Settings of the training, compared by `load_checkpoint`.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    path = Path(path)
    tensors = {f"network.{name}": value for name, value in state.network.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in state.average.state_dict().items()}
    for number, moments in state.optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{name}": value for name, value in moments.items()}
    tensors["generator"] = state.generator.get_state()
    tensors["losses"] = torch.tensor(state.losses, dtype=torch.float64)
    header = {
        "format": FORMAT,
        "step": str(state.step),
        "schedule_start": str(state.schedule_start),
        "settings": settings,
    }
    size = sum(value.nbytes for value in tensors.values())
    with write_atomically(path, needs=size) as partial:
        # Copies: safetensors refuses memory that is shared or not contiguous.
        save_file(
            {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()},
            partial,
            header,
        )
    return path


@torch.inference_mode(mode=False)
def load_checkpoint(
    path: str | Path, state: TrainingState, settings: str, may_grow: Collection[str] = ()
) -> None:
    """Restore the state of a training from a checkpoint.

    Parameters
    ----------
    path : path
    state : TrainingState
        Changed in place.
    settings : str
        Settings of the training, as in `save_checkpoint`.
    may_grow : collection of str
        Dotted names of settings that may have increased.

    Raises
    ------
    ModelFileError
        When the file is missing or damaged, or its settings differ.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"there is no checkpoint {path}: check the folder")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ModelFileError(
            f"{path} cannot be read ({error_text(error)}): start the training again"
        ) from error
    if header.get("format") != FORMAT:
        raise ModelFileError(f"{path} is not a checkpoint of this version: choose another folder")
    try:
        different = _differences(settings, header["settings"], may_grow)
        if not different:
            _restore(state, tensors)
            state.step = int(header["step"])
            # Absent from files with a single schedule.
            state.schedule_start = int(header.get("schedule_start", 0))
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"{path} does not fit its own settings ({error_text(error)}): start the training again"
        ) from error
    if different:
        raise ModelFileError(
            f"the training in {path.parent} was started with other settings ({different}): "
            "resume with the same ones, or choose another folder"
        )


def _restore(state: TrainingState, tensors: dict[str, Tensor]) -> None:
    def part(prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): value
            for name, value in tensors.items()
            if name.startswith(prefix)
        }

    state.network.load_state_dict(part("network."))
    state.average.load_state_dict(part("average."))
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in part("optimiser.").items():
        number, moment = name.split(".")
        moments.setdefault(int(number), {})[moment] = value
    optimiser = state.optimiser.state_dict()
    state.optimiser.load_state_dict({**optimiser, "state": moments})
    state.generator.set_state(tensors["generator"])
    state.losses = tensors["losses"].tolist()


def _differences(now: str, then: str, may_grow: Collection[str]) -> str:
    """Names of up to three settings that differ; missing fields have their default value."""
    new, old = (_flat(json.loads(text)) for text in (now, then))
    default = _flat(
        {
            "config": Config().model_dump(mode="json"),
            "folder": FolderConfig().model_dump(mode="json"),
        }
    )
    old = {name: default[name] for name in new.keys() & default.keys()} | old
    names = sorted(
        name
        for name in new.keys() | old.keys()
        if new.get(name) != old.get(name)
        and not (name in may_grow and _is_more(new.get(name), old.get(name)))
    )
    return ", ".join(names[:3])


def _is_more(new: object, old: object) -> bool:
    return isinstance(new, int) and isinstance(old, int) and new > old


def _flat(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
