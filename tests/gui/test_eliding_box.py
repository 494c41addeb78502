"""Long entries of lists end in an ellipsis."""

import numpy as np
from qtpy.QtGui import QImage

from napari_redenoise._napari._eliding_box import ElidingBox


def drawn(qtbot, text: str, width: int) -> np.ndarray:
    box = ElidingBox()
    qtbot.addWidget(box)
    box.addItem(text)
    box.resize(width, 26)
    image = box.grab().toImage().convertToFormat(QImage.Format.Format_Grayscale8)
    pixels = np.frombuffer(image.constBits().asarray(image.sizeInBytes()), np.uint8)
    return pixels.reshape(image.height(), -1).copy()


def test_what_is_cut_off_is_not_drawn(qtbot) -> None:
    text = "90° rotations (C4), the default of all"
    np.testing.assert_array_equal(drawn(qtbot, text, 120), drawn(qtbot, text + " and more", 120))
    assert (drawn(qtbot, text, 600) != drawn(qtbot, text + " and more", 600)).any()


def test_the_end_of_a_cut_text_is_an_ellipsis(qtbot) -> None:
    # Cut off without one, the box would look as if it held these letters alone.
    cut = drawn(qtbot, "l" * 200, 120)
    assert all((cut != drawn(qtbot, "l" * count, 120)).any() for count in range(10))
