"""Batches of small images with a small network, for the tests of batch processing."""

import json
from pathlib import Path

import numpy as np
import tifffile

from napari_redenoise import Config
from napari_redenoise.recipes import BatchRun, BatchSettings, find_images

FAST = Config().replace(
    {
        "network.kind": "standard",
        "network.levels": 2,
        "network.encoder_width": 8,
        "network.decoder_width": 16,
        "objective.kind": "noise2self",
        "training.start": "random",
        "training.steps": 2,
        "training.patch_size": 32,
        "training.batch_size": 2,
        "training.precision": "float32",
    }
)
TWO_BRANCHES = FAST.replace({"network.kind": "adarenet"})


def write_image(path: Path, seed: int = 0, shape: tuple[int, ...] = (40, 48)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, np.random.default_rng(seed).poisson(50, shape).astype(np.uint16))
    return path


OUT = Path("out")


def batch(*inputs: object, folder: Path = OUT, check=None, **settings) -> BatchRun:
    chosen = BatchSettings(**{"config": FAST, **settings})
    folders = [folder] if chosen.masks is None else [folder, chosen.masks]
    return BatchRun(find_images(inputs, folders), folder, chosen, "cpu", check)


def run(*inputs: object, stop=None, **settings) -> dict[type, list]:
    """Events of a batch by their class."""
    found: dict[type, list] = {}
    for event in batch(*(inputs or ("raw/**/*.tif",)), **settings).events(stop or (lambda: False)):
        found.setdefault(type(event), []).append(event)
    return found


def outputs(events: dict[type, list], kind: type) -> list[str]:
    return [event.file.output.as_posix() for event in events.get(kind, [])]


def records(folder: Path = OUT) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def results(folder: Path = OUT) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))
