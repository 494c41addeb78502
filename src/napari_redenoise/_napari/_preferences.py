"""What napari's preferences say of us; napari before 0.9 has no page for it."""

from __future__ import annotations

from dataclasses import dataclass

from napari_redenoise.devices import available_devices
from napari_redenoise.errors import OutputError
from napari_redenoise.io import set_results_folder


@dataclass(frozen=True)
class Preferences:
    """Where a new dock begins: device and seconds, None for automatic."""

    device: str | None = None
    seconds: int | None = None


def preferences() -> Preferences:
    """Read the preferences and take up the cache folder; what cannot be used is passed over."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:
        return Preferences()
    try:
        runs = get_plugin_settings("napari-redenoise").runs
    except (KeyError, AttributeError):
        # The plugin is not installed as one, as in a script that makes the widget itself.
        return Preferences()
    try:
        set_results_folder(runs.cache_folder.strip() or None)
    except OutputError:
        set_results_folder(None)
    device = runs.device if runs.device in available_devices() else None
    return Preferences(device, runs.seconds or None)
