"""Denoised images of this package are recognised by their files."""

import numpy as np
import pytest
import tifffile

from napari_redenoise.io import ImageFile, is_own_result, write_ome_zarr, write_tiff

PLANE = np.random.default_rng(0).random((32, 40)).astype(np.float32)


@pytest.mark.parametrize("axes", ["YX", "QYX"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_denoised_tiff_names_its_software(tmp_path, axes, dtype) -> None:
    # ImageJ holds neither the axis Q nor float64: both forms of a TIFF are written.
    array = np.broadcast_to(PLANE, (2,) * (len(axes) - 2) + PLANE.shape).astype(dtype)
    path, like = tmp_path / "a.tif", ImageFile(array, axes)
    write_tiff(path, array, like, is_denoised=True)
    with tifffile.TiffFile(path) as file:
        assert file.pages[0].tags["Software"].value == "napari-redenoise"
        np.testing.assert_array_equal(file.asarray(), array)
    assert is_own_result(path)
    write_tiff(path, array, like, overwrite=True)
    assert not is_own_result(path)


def test_a_denoised_ome_zarr_has_a_provenance(tmp_path) -> None:
    like = ImageFile(PLANE, "YX")
    assert is_own_result(write_ome_zarr(tmp_path / "a.zarr", PLANE, like, provenance={"steps": 3}))
    assert not is_own_result(write_ome_zarr(tmp_path / "b.zarr", PLANE, like))


def test_other_files_are_no_results(tmp_path) -> None:
    text, tiff, cut = (tmp_path / name for name in ("a.txt", "b.tif", "c.tif"))
    text.write_text("napari-redenoise")
    tifffile.imwrite(tiff, PLANE)
    cut.write_bytes(tiff.read_bytes()[:6])
    for path in (text, tiff, cut, tmp_path, tmp_path / "missing.tif"):
        assert not is_own_result(path)
