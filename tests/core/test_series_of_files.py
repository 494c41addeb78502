"""Images of several files: every file gives its own pixels."""

import numpy as np
import pytest
import tifffile

from napari_redenoise.io import inspect_file, read_image

PLANES, SIDE = 3, 32
OME = (
    '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/'
    'OME/2016-06" UUID="urn:uuid:{own}">{images}</OME>'
)
IMAGE = (
    '<Image ID="Image:{n}"><Pixels ID="Pixels:{n}" DimensionOrder="XYZCT" Type="uint16" '
    'SizeX="32" SizeY="32" SizeZ="3" SizeC="1" SizeT="1" PhysicalSizeX="{size}" '
    'PhysicalSizeY="{size}"><Channel ID="Channel:{n}:0" Name="0488"/>{data}</Pixels></Image>'
)
DATA = (
    '<TiffData IFD="{plane}" FirstZ="{plane}" PlaneCount="1"><UUID FileName="pos{n}.ome.tif">'
    "urn:uuid:{n}</UUID></TiffData>"
)


def positions(folder, **options) -> None:
    """Two stacks, each in a file of its own, which both describe both."""
    images = "".join(
        IMAGE.format(
            n=n, size=n + 1, data="".join(DATA.format(plane=p, n=n) for p in range(PLANES))
        )
        for n in range(2)
    )
    for n in range(2):
        # Headers of different lengths, so that the pixels lie at different places.
        xml = OME.format(own=str(n) * (1 + 40 * n), images=images)
        stack = np.full((PLANES, SIDE, SIDE), 100 * (n + 1), np.uint16)
        stack += np.arange(PLANES, dtype=np.uint16)[:, None, None]
        tifffile.imwrite(
            folder / f"pos{n}.ome.tif",
            stack,
            photometric="minisblack",
            description=xml,
            metadata=None,
            **options,
        )


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
@pytest.mark.parametrize("number", [0, 1])
def test_every_position_has_its_own_pixels(tmp_path, number, options) -> None:
    positions(tmp_path, **options)
    image = read_image(tmp_path / f"pos{number}.ome.tif")
    assert image.array.shape == (PLANES, SIDE, SIDE)
    expected = 100 * (number + 1) + np.arange(PLANES)
    np.testing.assert_array_equal(np.asarray(image.array)[:, 5, 7], expected)
    assert image.resolution == (1 / (number + 1),) * 2
    assert "the largest in this file" in " ".join(image.notes)
    # Digits of a name stay as they are.
    assert image.channels[0].name == "0488"


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}])
def test_the_other_position_can_be_chosen(tmp_path, options) -> None:
    positions(tmp_path, **options)
    image = read_image(tmp_path / "pos0.ome.tif", series=1)
    np.testing.assert_array_equal(np.asarray(image.array)[:, 0, 0], 200 + np.arange(PLANES))


def test_a_companion_describes_tiffs_that_do_not_name_it(tmp_path) -> None:
    names = [f"t{number}.tif" for number in range(3)]
    for number, name in enumerate(names):
        frame = np.full((SIDE, SIDE), number + 5, np.uint16)
        tifffile.imwrite(tmp_path / name, frame, metadata=None)
    data = "".join(
        f'<TiffData FirstT="{number}" IFD="0" PlaneCount="1"><UUID FileName="{name}">'
        f"urn:uuid:{number}</UUID></TiffData>"
        for number, name in enumerate(names)
    )
    pixels = (
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="32" SizeY="32" '
        f'SizeZ="1" SizeC="1" SizeT="3" PhysicalSizeX="0.5" PhysicalSizeY="0.5">{data}</Pixels>'
    )
    companion = tmp_path / "x.companion.ome"
    companion.write_text(OME.format(own=9, images=f'<Image ID="Image:0">{pixels}</Image>'))
    image = read_image(companion)
    assert image.axes == "TYX"
    np.testing.assert_array_equal(np.asarray(image.array)[:, 3, 3], [5, 6, 7])
    assert image.resolution == (2, 2)
    assert inspect_file(companion)["shape"] == [3, SIDE, SIDE]
