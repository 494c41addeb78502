"""The menu entries that the README and the documents name exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MENUS = ("File", "Layers", "Plugins")


def named_paths():
    """Every `Menu > Submenu > Entry` of the pages, with the first page that names it."""
    found = {}
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for path in re.findall(rf"[`*]((?:{'|'.join(MENUS)}) > [^`*\n]+)[`*]", text):
            found.setdefault(path, page.name)
    return found


def submenu(menu, word):
    """The entry of a menu that begins with a word, and its own menu, which may be None."""
    for action in menu.actions():
        if action.text().replace("&", "").startswith(word):
            if action.menu() is not None:
                action.menu().aboutToShow.emit()
            return action
    return None


@pytest.fixture
def bar(make_napari_viewer):
    return make_napari_viewer().window._qt_window.menuBar()


def test_the_pages_name_menu_entries():
    assert "Plugins > Redenoise > Denoise" in named_paths()
    assert "Layers > Filter > Denoise this layer" in named_paths()


def test_the_named_menu_entries_exist(bar):
    missing = {}
    for path, page in named_paths().items():
        menu, words = bar, path.split(" > ")
        # Preferences is a window: what follows is in it.
        for word in words[: words.index("Preferences") + 1 if "Preferences" in words else None]:
            action = None if menu is None else submenu(menu, word)
            menu = None if action is None else action.menu()
            if action is None:
                missing[path] = page
    assert missing == {}
