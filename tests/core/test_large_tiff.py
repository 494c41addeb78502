"""A TIFF that is larger than memory is read when it is indexed."""

from pathlib import Path
from typing import Any

import dask.array
import numpy as np
import pytest
import tifffile

from napari_redenoise.data import Planes
from napari_redenoise.io import _lazy_images, read_image

PIXELS = np.random.default_rng(0).integers(0, 250, (3, 2, 64, 48)).astype(np.uint16)
COLOURS = np.random.default_rng(0).integers(0, 250, (3, 64, 48, 4)).astype(np.uint8)

PALETTE = np.random.default_rng(0).integers(0, 2**16, (3, 256)).astype(np.uint16)

FORMS: dict[str, tuple[np.ndarray, dict[str, Any], type]] = {
    "in one piece": (PIXELS, {"metadata": {"axes": "ZCYX"}}, dask.array.Array),
    "big-endian": (PIXELS, {"metadata": {"axes": "ZCYX"}, "byteorder": ">"}, dask.array.Array),
    "of ImageJ": (PIXELS, {"imagej": True, "metadata": {"axes": "ZCYX"}}, dask.array.Array),
    "compressed": (PIXELS, {"compression": "zlib", "metadata": {"axes": "ZCYX"}}, dask.array.Array),
    "tiled": (PIXELS, {"compression": "zlib", "tile": (16, 32)}, dask.array.Array),
    "colour": (COLOURS[..., :3], {"compression": "zlib", "photometric": "rgb"}, dask.array.Array),
    "alpha": (COLOURS, {"compression": "zlib", "photometric": "rgb"}, dask.array.Array),
    "palette": (
        COLOURS[..., 0],
        {"compression": "zlib", "photometric": "palette", "colormap": PALETTE},
        np.ndarray,
    ),
    "alpha in one piece": (COLOURS, {"photometric": "rgb"}, dask.array.Array),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_large_file_is_read_as_a_small_one(tmp_path: Path, monkeypatch, form: str) -> None:
    pixels, options, kind = FORMS[form]
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, pixels, **{"photometric": "minisblack", **options})
    small = read_image(path)
    assert type(small.array) is np.ndarray
    monkeypatch.setattr(_lazy_images, "MOST_BYTES_IN_MEMORY", 0)
    large = read_image(path)
    assert isinstance(large.array, kind)
    assert (large.axes, large.array.shape) == (small.axes, small.array.shape)
    assert large.array.dtype == small.array.dtype
    np.testing.assert_array_equal(large.array, small.array)
    windows = [
        Planes(image.array, image.axes).read(
            (1,) * len(Planes(image.array, image.axes).sample_shape), slice(5, 40), slice(3, 44)
        )
        for image in (small, large)
    ]
    np.testing.assert_array_equal(*windows)
    np.testing.assert_array_equal(large.array != 0, small.array != 0)


def test_a_window_reads_its_plane_alone(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, PIXELS[:, 0], compression="zlib", photometric="minisblack")
    monkeypatch.setattr(_lazy_images, "MOST_BYTES_IN_MEMORY", 0)
    image = read_image(path)
    content = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        for page in (file.pages[0], file.pages[2]):
            content[page.dataoffsets[0] : page.dataoffsets[0] + 8] = b"no chunk"
    path.write_bytes(content)
    window = Planes(image.array, image.axes).read((1,), slice(0, 64), slice(0, 48))
    np.testing.assert_array_equal(window[0], PIXELS[1, 0])


def test_a_damaged_plane_is_named_when_it_is_read(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, PIXELS[:, 0], compression="zlib", photometric="minisblack")
    with tifffile.TiffFile(path) as file:
        offset = file.pages[1].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + 8] = b"no chunk"
    path.write_bytes(content)
    monkeypatch.setattr(_lazy_images, "MOST_BYTES_IN_MEMORY", 0)
    image = read_image(path)
    with pytest.raises(ValueError, match=r"in\.tif has pixels that cannot be read"):
        np.asarray(image.array[1])


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="the system lists no maps")
def test_pixels_that_were_read_do_not_stay_in_memory(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "in.tif"
    tifffile.imwrite(path, PIXELS, photometric="minisblack", metadata={"axes": "ZCYX"})
    monkeypatch.setattr(_lazy_images, "MOST_BYTES_IN_MEMORY", 0)
    array = read_image(path).array
    np.testing.assert_array_equal(array[1], PIXELS[1])
    assert str(path) not in Path("/proc/self/maps").read_text()
