from types import SimpleNamespace

import numpy as np
import pytest

from napari_redenoise._napari._layers import LayerImage, read_layer
from napari_redenoise._napari._view import MOST_PREVIEWED, current_window


def shown(
    shape, axes, corners, point=None, *, ndisplay=2, levels=None, colour=False, order=(), now=None
):
    """The window of a layer with visible corners, which may have another number of axes now."""
    source = LayerImage("cells", np.zeros(shape, np.uint8), axes, colour)
    layer = SimpleNamespace(
        ndim=now or len(shape) - colour,
        multiscale=levels is not None,
        corner_pixels=np.asarray(corners),
        downsample_factors=levels,
        data_level=0 if levels is None else len(levels) - 1,
        world_to_data=lambda position: position,
    )
    ndim = len(shape) - colour
    point = np.zeros(ndim) if point is None else point
    dims = SimpleNamespace(
        ndisplay=ndisplay,
        ndim=ndim,
        point=point,
        displayed=(order or tuple(range(ndim)))[-ndisplay:],
    )
    return current_window(SimpleNamespace(dims=dims), layer, source)


def test_a_small_plane_is_previewed_whole():
    window = shown((300, 200), "YX", [(280, 190), (299, 199)])
    assert (window.sample, window.rows, window.columns) == ((), slice(0, 300), slice(0, 200))


@pytest.mark.parametrize(
    ("seen", "expected"), [((0, 100), 0), ((900, 1100), 1000 - MOST_PREVIEWED // 2)]
)
def test_of_a_large_plane_the_middle_of_the_view_is_previewed(seen, expected):
    window = shown((2000, 300), "YX", [(seen[0], 0), (seen[1], 299)])
    assert window.rows == slice(expected, expected + MOST_PREVIEWED)
    assert window.columns == slice(0, 300)


def test_the_preview_never_leaves_the_plane():
    window = shown((2000, 2000), "YX", [(1990, 1990), (5000, 5000)])
    assert window.rows == window.columns == slice(2000 - MOST_PREVIEWED, 2000)


def test_corners_of_a_coarse_level_are_brought_to_the_finest():
    levels = [(1, 1), (4, 4)]
    window = shown((4000, 4000), "YX", [(240, 490), (260, 510)], levels=levels)
    assert window.rows.start == 1000 - MOST_PREVIEWED // 2
    assert window.columns.start == 2000 - MOST_PREVIEWED // 2


def test_the_slice_is_the_nearest():
    corners = [(0, 0, 0), (0, 29, 39)]
    assert shown((5, 30, 40), "TYX", corners, (2.6, 0, 0)).sample == (3,)
    assert shown((5, 30, 40), "TYX", corners, (4.4, 0, 0)).sample == (4,)


@pytest.mark.parametrize("point", [-0.6, 4.6, 99.0])
def test_beside_a_stack_there_is_no_plane(point):
    # napari shows nothing of the stack there.
    assert shown((5, 30, 40), "TYX", [(0, 0, 0), (0, 29, 39)], (point, 0, 0)) is None


@pytest.mark.parametrize("point", [1.0, 6.2, 10.0])
def test_of_a_sheared_stack_the_plane_in_view_is_previewed(dock, noisy, point):
    stack = np.stack([noisy + 10_000 * number for number in range(12)])
    affine = np.array([[1, 0.05, 0, 0], [0.8, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    layer = dock.viewer.add_image(stack, name="cells", affine=affine)
    dock.viewer.dims.set_point(0, point)
    window = current_window(dock.viewer, layer, read_layer(layer))
    # What napari has drawn; of the inverse of the affine, it uses 1 / (1 - 0.05 * 0.8) alone.
    drawn = np.asarray(dock.viewer.__wrapped__.layers[0]._slice.image.raw)
    np.testing.assert_array_equal(drawn, stack[window.sample[0]])
    assert window.sample == (round(dock.viewer.dims.point[0] / 0.96),)
    dock.viewer.dims.set_point(0, 13)
    assert current_window(dock.viewer, layer, read_layer(layer)) is None


def test_channels_and_colours_are_no_samples():
    corners = [(0, 0, 0, 0), (0, 0, 29, 39)]
    window = shown((5, 2, 30, 40), "TCYX", corners, (3.0, 1.0, 0, 0))
    assert window.sample == (3,)
    assert shown((30, 40, 3), "YXC", [(0, 0), (29, 39)], colour=True).sample == ()


def test_nothing_is_previewed_while_volumes_are_shown():
    assert shown((5, 30, 40), "ZYX", [(0, 0, 0), (4, 29, 39)], ndisplay=3) is None


def test_sections_along_other_axes_are_no_planes():
    corners = [(0, 0, 0), (4, 29, 39)]
    assert shown((5, 30, 40), "ZYX", corners, order=(1, 0, 2)) is None
    # Transposed, y and x are shown.
    assert shown((5, 30, 40), "ZYX", corners, order=(0, 2, 1)).sample == (0,)


def test_data_of_other_axes_show_no_plane_of_the_image():
    corners = [(0, 0), (29, 39)]
    assert shown((30, 40), "YX", corners, now=3) is None
    assert shown((30, 40), "YX", corners, now=2) is not None
