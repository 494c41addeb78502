"""Files of microscopes: by bioio with a reader and a format of the tests, and refused without."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_redenoise.errors import InputError
from napari_redenoise.io import _bioio_reading, _lazy_images, read_image

SCENES = {
    "overview": np.arange(2 * 20 * 24, dtype=np.uint16).reshape(1, 2, 1, 20, 24),
    "sample": np.random.default_rng(0).poisson(50, (3, 2, 5, 32, 40)).astype(np.uint16),
}
needs_bioio = pytest.mark.skipif(
    importlib.util.find_spec("bioio") is None, reason="bioio is not installed"
)

READER = """
from datetime import timedelta
import dask.array as da, numpy as np, xarray as xr
from bioio_base import reader, reader_metadata, types

class Reader(reader.Reader):
    @staticmethod
    def _is_supported_image(fs, path, **_):
        return True
    def __init__(self, image, **_):
        with open(image, "rb") as file:
            assert file.read(8) == b"OF TESTS"
            self.content = dict(np.load(file))
    @property
    def scenes(self):
        return tuple(self.content)
    def _read_delayed(self):
        pixels = self.content[self.current_scene]
        return xr.DataArray(da.from_array(pixels, chunks=(1, 1, 1, -1, -1)), dims=list("TCZYX"))
    _read_immediate = _read_delayed
    @property
    def physical_pixel_sizes(self):
        return types.PhysicalPixelSizes(2.0, 0.5, 0.25)
    @property
    def time_interval(self):
        return timedelta(seconds=1.5)

class ReaderMetadata(reader_metadata.ReaderMetadata):
    @staticmethod
    def get_supported_extensions():
        return [".tests"]
    @staticmethod
    def get_reader():
        return Reader
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch) -> Path:
    kind = ("file of tests", "bioio-of-tests")
    monkeypatch.setitem(_bioio_reading._KINDS, b"OF TESTS", kind)
    path = tmp_path / "a.tests"
    with path.open("wb") as file:
        file.write(b"OF TESTS")
        np.savez(file, **SCENES)
    return path


@pytest.fixture
def reader(tmp_path: Path, monkeypatch) -> None:
    """A reader as users install them: bioio finds it by its entry point."""
    folder = tmp_path / "site"
    information = folder / "bioio_of_tests-1.0.dist-info"
    information.mkdir(parents=True)
    (folder / "bioio_of_tests.py").write_text(READER)
    metadata = "Metadata-Version: 2.1\nName: bioio-of-tests\nVersion: 1.0\n"
    (information / "METADATA").write_text(metadata + "Requires-Dist: bioio-base\n")
    (information / "entry_points.txt").write_text(
        "[bioio.readers]\nbioio-of-tests = bioio_of_tests\n"
    )
    monkeypatch.syspath_prepend(folder)


@needs_bioio
def test_the_largest_scene_is_read_with_its_scale(path, reader):
    image = read_image(path)
    np.testing.assert_array_equal(image.array, SCENES["sample"])
    assert image.axes == "TCZYX"
    assert image.metadata == {"unit": "µm", "spacing": 2.0, "finterval": 1.5}
    assert image.resolution == (4.0, 2.0)
    assert image.notes == (
        "it holds 2 series: 0 (overview, 1 × 2 × 1 × 20 × 24), 1 (sample, 3 × 2 × 5 × 32 × 40); "
        "series 1, the largest, is read: give another number with --series for the others",
    )


@needs_bioio
def test_a_scene_is_a_series_without_axes_of_size_1(path, reader):
    image = read_image(path, series=0)
    assert (image.axes, image.notes) == ("CYX", ())
    np.testing.assert_array_equal(image.array, SCENES["overview"][0, :, 0])
    with pytest.raises(InputError, match="no series 2 in it: give a number from 0 to 1"):
        read_image(path, series=2)


@needs_bioio
def test_a_large_scene_is_read_when_it_is_indexed(path, reader, monkeypatch):
    monkeypatch.setattr(_lazy_images, "MOST_BYTES_IN_MEMORY", 1000)
    image = read_image(path)
    assert not isinstance(image.array, np.ndarray)
    np.testing.assert_array_equal(image.array[1, 0, 3], SCENES["sample"][1, 0, 3])


@needs_bioio
def test_the_command_reads_it(path, reader, redenoise):
    status, said, errors = redenoise("inspect", path, "--series", 0)
    assert status == 0, errors
    assert "format: file of tests" in said
    assert "shape: 2 × 20 × 24, axes CYX, uint16" in said


@pytest.mark.parametrize(
    ("begin", "kind", "package"),
    [
        (b"\xda\xce\xbe\x0a", "ND2 of Nikon", "bioio-nd2"),
        (b"\x70\x00\x00\x00", "LIF of Leica", "bioio-lif"),
    ],
)
def test_without_bioio_it_is_said_what_to_install(tmp_path, monkeypatch, begin, kind, package):
    monkeypatch.setitem(sys.modules, "bioio", None)
    # Whatever its ending.
    (tmp_path / "a.tif").write_bytes(begin + b"rest")
    words = f"it is a {kind}, which needs a reader: run pip install bioio {package}"
    with pytest.raises(InputError, match=words):
        read_image(tmp_path / "a.tif")


@needs_bioio
def test_without_a_reader_it_is_said_what_to_install(path):
    words = "it is a file of tests, which needs a reader: run pip install bioio bioio-of-tests"
    with pytest.raises(InputError, match=words):
        read_image(path)


@needs_bioio
def test_a_damaged_file_is_told_from_a_missing_reader(path, reader, redenoise):
    path.write_bytes(b"OF TESTS")
    status, _, said = redenoise("inspect", path)
    assert status
    assert "reader refuses" in said
    assert "pip install" not in said
    assert len(said.splitlines()) == 1
