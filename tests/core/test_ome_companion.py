"""Multi-file OME-TIFF: metadata in a companion file, pixels in several TIFFs."""

import uuid
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_redenoise.errors import InputError, OutputError
from napari_redenoise.io import read_image
from napari_redenoise.recipes import BatchSettings
from napari_redenoise.recipes.batch._files import name_results

PIXELS = np.random.default_rng(0).poisson(50, (2, 3, 32, 40)).astype(np.uint16)
SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
COMPANION = "all.companion.ome"
SIZES = (
    'DimensionOrder="XYZCT" Type="uint16" SizeX="40" SizeY="32" SizeZ="3" SizeC="1" SizeT="2" '
    'PhysicalSizeX="0.25" PhysicalSizeXUnit="µm" PhysicalSizeY="0.5" PhysicalSizeYUnit="µm"'
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A file for each frame, as the OME specification has it."""
    planes = ""
    for t, stack in enumerate(PIXELS):
        name, identity = f"t{t}.ome.tif", f"urn:uuid:{uuid.uuid4()}"
        reference = f'<BinaryOnly MetadataFile="{COMPANION}" UUID="urn:uuid:{uuid.uuid4()}"/>'
        own = f'<?xml version="1.0"?><OME xmlns="{SCHEMA}" UUID="{identity}">{reference}</OME>'
        options = {"photometric": "minisblack", "metadata": None}
        tifffile.imwrite(tmp_path / name, stack, description=own, **options)
        for z in range(len(stack)):
            place = f'FirstT="{t}" FirstZ="{z}" FirstC="0" IFD="{z}" PlaneCount="1"'
            file = f'<UUID FileName="{name}">{identity}</UUID>'
            planes += f"<TiffData {place}>{file}</TiffData>"
    channel = '<Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
    pixels = f'<Pixels ID="Pixels:0" {SIZES}>{channel}{planes}</Pixels>'
    text = f'<OME xmlns="{SCHEMA}"><Image ID="Image:0">{pixels}</Image></OME>'
    (tmp_path / COMPANION).write_text(f'<?xml version="1.0"?>{text}', encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("name", ["t0.ome.tif", "t1.ome.tif", COMPANION])
def test_any_of_the_files_gives_the_whole_image(folder, name):
    image = read_image(folder / name)
    np.testing.assert_array_equal(image.array, PIXELS)
    assert image.axes == "TZYX"
    assert image.resolution == pytest.approx((4, 2))
    assert image.metadata["unit"] == "µm"
    assert image.notes == ()


def test_a_missing_companion_is_said_and_costs_no_pixels(folder):
    (folder / COMPANION).unlink()
    image = read_image(folder / "t1.ome.tif")
    np.testing.assert_array_equal(image.array, PIXELS[1])
    assert f"its OME metadata lie in {COMPANION}, which is missing" in image.notes[0]


def test_a_missing_file_of_pixels_is_said(folder):
    (folder / "t1.ome.tif").unlink()
    image = read_image(folder / COMPANION)
    np.testing.assert_array_equal(image.array, PIXELS[:1])
    assert "missing or cut off: 3 of 6 planes" in image.notes[0]


def test_metadata_without_any_pixels_are_refused(folder):
    for path in folder.glob("*.tif"):
        path.unlink()
    with pytest.raises(InputError, match="none of the 2 files that it names is beside it: copy"):
        read_image(folder / COMPANION)


def test_the_command_inspects_a_companion(folder, redenoise):
    status, said, errors = redenoise("inspect", folder / COMPANION)
    assert status == 0, errors
    assert "format: OME-TIFF" in said
    assert "shape: 2 × 3 × 32 × 40, axes TZYX, uint16" in said


@pytest.mark.parametrize("image", ["t0.ome.tif", COMPANION])
@pytest.mark.parametrize("result", ["t1.ome.tif", COMPANION])
def test_a_result_never_replaces_a_file_of_the_image(redenoise, folder, image, result):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    options = ("--instant", "--overwrite", "--device", "cpu")
    status, _, errors = redenoise("denoise", folder / image, folder / result, *options)
    assert (status, "choose another name" in errors) == (1, True), errors
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_result_in_a_batch_replaces_no_plane(folder):
    images = {folder / "t0.ome.tif": Path("t1.ome.tif")}
    with pytest.raises(OutputError, match=r"t1\.ome\.tif is read by this run: choose another"):
        name_results(images, folder, BatchSettings())
