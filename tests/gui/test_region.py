"""Training regions that Shapes and Labels layers mark, by world coordinates."""

import numpy as np
import pytest
from napari.layers import Image, Labels, Shapes

from napari_redenoise._napari._layers import read_layer
from napari_redenoise._napari.denoise._training_region import one_sample, region_of
from napari_redenoise.errors import InputError


def region(image, marked):
    return np.asarray(region_of(image, read_layer(image), marked).pixels())


def test_labels_of_the_same_pixels_mark_these():
    labels = np.zeros((40, 50), int)
    labels[10:20, 5:30] = 3
    image = Image(np.zeros((40, 50)), scale=(2, 2), translate=(7, 9))
    marked = Labels(labels, scale=(2, 2), translate=(7, 9))
    np.testing.assert_array_equal(region(image, marked), labels > 0)


def test_labels_on_a_coarser_grid_match_by_world_coordinates():
    # One label pixel is 4 x 4 image pixels; their corners coincide.
    labels = np.zeros((10, 10), int)
    labels[2:4, 5] = 1
    image = Image(np.zeros((40, 40)), scale=(0.5, 0.5), translate=(100, 0))
    marked = Labels(labels, scale=(2, 2), translate=(100.75, 0.75))
    expected = np.zeros((40, 40), bool)
    expected[8:16, 20:24] = True
    np.testing.assert_array_equal(region(image, marked), expected)


def test_a_rectangle_marks_its_inside():
    image = Image(np.zeros((40, 50)))
    shapes = Shapes([[[10, 5], [10, 29], [19, 29], [19, 5]]], shape_type="rectangle")
    found = region(image, shapes)
    inside = np.zeros((40, 50), bool)
    inside[11:19, 6:29] = True
    around = np.zeros((40, 50), bool)
    around[9:21, 4:31] = True
    assert found[inside].all()
    assert not found[~around].any()


def test_shapes_drawn_over_a_scaled_image_and_beyond_it():
    image = Image(np.zeros((40, 50)), scale=(0.1, 0.1))
    # In micrometres: rows 2 to 6 (pixels 20 to 39 and beyond), columns -1 to 1.
    shapes = Shapes([[[2, -1], [2, 1], [6, 1], [6, -1]]], shape_type="rectangle")
    found = region(image, shapes)
    assert found[25:, :5].all()
    assert not found[:15].any()
    assert not found[:, 25:].any()


def test_shapes_of_a_stack_hold_for_all_its_slices():
    image = Image(np.zeros((4, 40, 50)))
    corners = [[2, 10, 5], [2, 10, 30], [2, 20, 30], [2, 20, 5]]
    found = region(image, Shapes([corners], shape_type="polygon"))
    assert found.shape == (40, 50)
    assert found[15, 15]
    assert not found[30, 40]


def test_labels_of_a_stack_are_taken_as_they_are():
    labels = np.zeros((3, 40, 50), int)
    labels[1, 5:20, 5:20] = 1
    found = region(Image(np.zeros((3, 40, 50))), Labels(labels))
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize(
    ("marked", "words"),
    [
        (Labels(np.zeros((40, 50), int), name="empty"), "no pixel of"),
        (Labels(np.ones((40, 50), int), translate=(500, 500), name="away"), "no pixel of"),
        (Shapes(name="none"), "no shape with an area"),
        (Shapes([[[1, 1], [30, 30]]], shape_type="line", name="line"), "no shape with an area"),
    ],
)
def test_a_region_without_pixels_is_refused(marked, words):
    with pytest.raises(InputError, match=words):
        region(Image(np.zeros((40, 50)), name="cells"), marked)


def test_a_single_sample_is_whole_and_the_others_are_empty():
    one = one_sample((3, 4, 20, 30), (1, 2))
    rows, columns = slice(5, 15), slice(0, 30)
    assert one[1, 2, rows, columns].shape == (10, 30)
    assert one[1, 2, rows, columns].all()
    assert not one[1, 3, rows, columns].any()


def test_ellipses_and_multiscale_labels_mark_their_pixels():
    image = Image(np.zeros((40, 50)))
    box = [[10, 10], [10, 30], [20, 30], [20, 10]]
    found = region(image, Shapes([box], shape_type="ellipse"))
    # Half axes 5 and 10.
    assert found.sum() == pytest.approx(np.pi * 5 * 10, rel=0.08)
    assert found[15, 20]
    assert not found[11, 11]
    labels = np.zeros((40, 50), int)
    labels[5:9, 5:9] = 1
    levels = Labels([labels, labels[::2, ::2]], multiscale=True)
    np.testing.assert_array_equal(region(image, levels), labels > 0)


def test_all_shapes_together_are_the_region():
    image = Image(np.zeros((40, 50)))
    boxes = [[[2, 2], [2, 9], [9, 9], [9, 2]], [[20, 20], [20, 29], [29, 29], [29, 20]]]
    found = region(image, Shapes(boxes, shape_type="polygon"))
    assert found[5, 5]
    assert found[25, 25]
    assert not found[15, 15]
