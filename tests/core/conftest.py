import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_redenoise import Config, _cli

from ._batches import write_image

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """These networks are too small to share: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", autouse=True)
def signals() -> None:
    """As of a terminal: of a script in the background some are ignored."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_IGN:
            usual = signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL
            signal.signal(number, usual)


@pytest.fixture(scope="session")
def reference_layers() -> dict[str, np.ndarray]:
    """Filters and outputs of the method's published code: weights, bias, basis, filter, x, y."""
    with np.load(DATA / "reference_layers.npz") as file:
        return dict(file)


@pytest.fixture(scope="session")
def golden(bench_data: Path) -> dict[str, np.ndarray]:
    """The published AdaReNet: its weights under ``state_dict/``, an input and four outputs."""
    path = bench_data.parent / "golden" / "reference_adarenet.npz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    with np.load(path) as file:
        return dict(file)


@pytest.fixture(scope="session")
def golden_checkpoint(golden: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """The published ``state_dict``, as saved in training mode."""
    return {
        name.removeprefix("state_dict/"): torch.from_numpy(value)
        for name, value in golden.items()
        if name.startswith("state_dict/")
    }


@pytest.fixture
def use_dtype() -> Iterator[Callable[[torch.dtype], None]]:
    """Set torch's default dtype for one test."""
    before = torch.get_default_dtype()
    yield torch.set_default_dtype
    torch.set_default_dtype(before)


@pytest.fixture
def tiny() -> Config:
    """A configuration that trains in a fraction of a second, the same on every machine."""
    return Config().replace(
        {
            "network.levels": 2,
            "network.encoder_width": 8,
            "network.decoder_width": 16,
            "objective.kind": "noise2self",
            "training.start": "random",
            "training.steps": 3,
            "training.patch_size": 32,
            "training.batch_size": 2,
            "training.precision": "float32",
        }
    )


@pytest.fixture
def noisy() -> np.ndarray:
    """Photon counts of a smooth image, (70, 54), uint16."""
    y, x = np.mgrid[:70, :54]
    clean = 40 + 25 * np.sin(y / 7) * np.cos(x / 5)
    return np.random.default_rng(0).poisson(clean).astype(np.uint16)


@pytest.fixture
def redenoise(monkeypatch, capsys):
    """Run the command as the shell does; returns exit status, output and errors."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["redenoise", *map(str, arguments)])
        try:
            _cli.main()
            status = 0
        except SystemExit as exit_:
            status = exit_.code or 0
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def raw(tmp_path: Path, monkeypatch) -> Path:
    """Two images of one name, one in a subfolder."""
    monkeypatch.chdir(tmp_path)
    write_image(tmp_path / "raw" / "a.tif", 1)
    write_image(tmp_path / "raw" / "b" / "a.tif", 2)
    return Path("raw")
