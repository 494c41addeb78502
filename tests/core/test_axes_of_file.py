"""The axes that a file names, for arrays as napari's readers make them."""

import numpy as np
import pytest
import tifffile

from napari_redenoise.io import ImageFile, axes_of_file, write_ome_zarr

COUNTS = np.random.default_rng(0).poisson(20, (5, 2, 24, 20)).astype(np.uint16)


@pytest.mark.parametrize(
    ("axes", "name", "options"),
    [
        ("TCYX", "a.tif", {"imagej": True}),
        ("ZCYX", "a.ome.tif", {}),
        ("ZCYX", "a.tif", {"imagej": True}),
        ("TZYX", "named.tif", {}),
    ],
)
def test_metadata_name_the_axes(tmp_path, axes, name, options):
    path = tmp_path / name
    tifffile.imwrite(path, COUNTS, metadata={"axes": axes}, **options)
    assert axes_of_file(path, COUNTS.shape) == axes


def test_a_layer_of_one_channel_has_the_other_axes(tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, COUNTS, metadata={"axes": "TCYX"})
    assert axes_of_file(path, (5, 24, 20)) == "TYX"
    # One time point, or an array that was cropped since, is another matter.
    assert axes_of_file(path, (2, 24, 20)) is None
    assert axes_of_file(path, (5, 2, 24, 19)) is None


def test_axes_of_size_one_may_be_absent(tmp_path):
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, COUNTS[:, :1, None], metadata={"axes": "TCZYX"})
    assert axes_of_file(path, (5, 24, 20)) == "TYX"


@pytest.mark.parametrize("options", [{}, {"metadata": None}])
def test_pages_without_names_have_no_axes(tmp_path, options):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, COUNTS[:, 0], **options)
    assert axes_of_file(path, (5, 24, 20)) is None


def test_an_ome_zarr_names_its_axes(tmp_path):
    path = tmp_path / "a.zarr"
    write_ome_zarr(path, COUNTS, ImageFile(COUNTS, "TCYX"))
    assert axes_of_file(path, COUNTS.shape) == "TCYX"
    assert axes_of_file(str(path), (5, 24, 20)) == "TYX"


def test_no_pixels_are_read(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, COUNTS, imagej=True, metadata={"axes": "TCYX"})

    def refuse(*_, **__):
        raise AssertionError("pixels were read")

    for owner in (tifffile.TiffPageSeries, tifffile.TiffPage, tifffile.TiffFile):
        monkeypatch.setattr(owner, "asarray", refuse)
    assert axes_of_file(path, COUNTS.shape) == "TCYX"


def test_other_files_have_no_axes(tmp_path):
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert axes_of_file(tmp_path / "a.png", (5, 24, 20)) is None
    assert axes_of_file(tmp_path / "missing.tif", (5, 24, 20)) is None
    (tmp_path / "b.tif").write_bytes(b"II*\0\x00")
    assert axes_of_file(tmp_path / "b.tif", (5, 24, 20)) is None
