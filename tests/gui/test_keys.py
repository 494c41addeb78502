"""Mnemonics: every one reaches its widget, and no other widget or menu has it."""

import re
from collections import defaultdict

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QApplication, QLabel


def texts(dock):
    """Texts with a mnemonic that are in view, and the menus of napari."""
    widget = dock.widget
    parts = [*widget.findChildren(QAbstractButton), *widget.findChildren(QLabel)]
    found = [
        one.text()
        for one in parts
        if one.isVisibleTo(widget) and (isinstance(one, QAbstractButton) or one.buddy() is not None)
    ]
    return found + [menu.text() for menu in dock.dock.window().menuBar().actions()]


def clashes(dock):
    keys = defaultdict(list)
    for text in texts(dock):
        for key in re.findall(r"&(\w)", text):
            keys[key.lower()].append(text)
    assert len(keys) > 8
    return [several for several in keys.values() if len(several) > 1]


@pytest.fixture
def shown(dock, noisy):
    """A dock in view, with a layer that has every choice."""
    window = dock.dock.window()
    window.show()
    window.activateWindow()
    dock.viewer.add_image(noisy[None].repeat(3, 0), name="cells")
    return dock


def test_no_two_keys_in_view_are_the_same(shown):
    widget = shown.widget
    widget.details_button.setVisible(True)
    for paused in (None, False, True):
        if paused is not None:
            widget.show_running(trains=True)
            widget.show_paused(paused=paused)
        for number in range(widget.tabs.count()):
            widget.tabs.setCurrentIndex(number)
            assert clashes(shown) == []


def test_the_keys_of_the_tab_batch_reach_its_fields(shown):
    panel = shown.widget.batch
    shown.widget.open_tab(panel)
    shown.wait(shown.widget.isActiveWindow)
    for key, field in (
        (Qt.Key.Key_N, panel.pattern),
        (Qt.Key.Key_T, panel.training),
        (Qt.Key.Key_R, panel.output),
        (Qt.Key.Key_M, panel.format),
    ):
        shown.widget.button.setFocus()
        shown.qtbot.keyClick(panel, key, Qt.KeyboardModifier.AltModifier)
        assert QApplication.focusWidget() is field
    assert panel.output_button.accessibleName() == "Choose the folder for the results"
