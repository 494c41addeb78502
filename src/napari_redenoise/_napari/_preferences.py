"""The page of the plugin in napari's preferences; napari before 0.9 has none."""

from __future__ import annotations

from dataclasses import dataclass

from napari_redenoise.devices import available_devices
from napari_redenoise.errors import OutputError
from napari_redenoise.io import set_results_folder


@dataclass(frozen=True)
class Preferences:
    """Defaults of a new dock: device and time in seconds; None is automatic."""

    device: str | None = None
    seconds: int | None = None


def preferences() -> Preferences:
    """Read the preferences and apply the cache folder; unusable values are ignored."""
    try:
        from napari.settings import get_plugin_settings
    except ImportError:
        return Preferences()
    try:
        runs = get_plugin_settings("napari-redenoise").runs
    except (KeyError, AttributeError):
        # napari does not know the plugin, as where a script makes the widget itself.
        return Preferences()
    try:
        set_results_folder(runs.cache_folder.strip() or None)
    except OutputError:
        set_results_folder(None)
    device = runs.device if runs.device in available_devices() else None
    return Preferences(device, runs.seconds or None)
