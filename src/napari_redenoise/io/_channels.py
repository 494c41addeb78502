"""Names, colours and display windows of channels, as files store them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from napari_redenoise.io._spatial_metadata import as_number
from napari_redenoise.io._unreadable import UNREADABLE

_DEFAULT_COLOURS = {
    1: ("FFFFFF",),
    2: ("FF00FF", "00FF00"),
    3: ("00FFFF", "FFFF00", "FF00FF"),
}
_MORE_COLOURS = ("00FFFF", "FFFF00", "FF00FF", "FF0000", "00FF00", "0000FF")
"""Those of napari for channels without colours."""

_LEVELS = 256
"""Entries of a lookup table of ImageJ."""

_WHITE = "FFFFFF"

Window = tuple[float, float]


@dataclass(frozen=True)
class Channel:
    """How a channel is called and shown; None where the file does not tell.

    Attributes
    ----------
    name : str or None
    colour : str or None
        Six hexadecimal digits, red first.
    window : tuple of float, or None
        Grey levels that are shown as black and in full brightness.
    """

    name: str | None = None
    colour: str | None = None
    window: Window | None = None

    def __bool__(self) -> bool:
        """Whether anything is known."""
        return self != Channel()


RGB = (Channel("red", "FF0000"), Channel("green", "00FF00"), Channel("blue", "0000FF"))
"""The channels of a colour image."""


def known_channels(channels: Iterable[Channel]) -> tuple[Channel, ...]:
    """The channels, or none if nothing is known of any. All white is no colour."""
    found = tuple(channels)
    if len(found) > 1 and all(channel.colour == _WHITE for channel in found):
        # A default, in which they could not be told apart.
        found = tuple(replace(channel, colour=None) for channel in found)
    return found if any(found) else ()


def ome_channels(xml: str, number: int) -> tuple[Channel, ...]:
    """Channels of an image in an OME-XML.

    Parameters
    ----------
    xml : str
    number : int
        Of the image.

    Returns
    -------
    tuple of Channel
        None if the channels are the colours of one image.
    """
    image = ElementTree.fromstring(xml).findall("{*}Image")[number]
    entries = image.findall("{*}Pixels/{*}Channel")
    if any(one.get("SamplesPerPixel", "1") != "1" for one in entries):
        return ()
    return known_channels(
        Channel(_text(one.get("Name") or one.get("Fluor")), _of_rgba(one.get("Color")))
        for one in entries
    )


def imagej_channels(metadata: Mapping[str, Any], count: int) -> tuple[Channel, ...]:
    """Channels in the metadata of an ImageJ hyperstack.

    Parameters
    ----------
    metadata : mapping
        As tifffile reads them: ``Labels``, ``LUTs`` and ``Ranges``.
    count : int
        Number of channels.

    Returns
    -------
    tuple of Channel
        Colours are those of tables that go from black to one colour. Labels are the names of
        channels where they are the same in all slices.
    """
    tables, ranges = list(metadata.get("LUTs", ())), list(metadata.get("Ranges", ()))
    labels = list(metadata.get("Labels", ()))
    planes = int(metadata.get("images", count))
    found = []
    for number in range(count):
        limits = ranges[2 * number : 2 * number + 2]
        names = set(labels[number:planes:count])
        found.append(
            Channel(
                _text(names.pop()) if len(names) == 1 and len(labels) >= planes else None,
                _of_table(tables[number]) if number < len(tables) else None,
                _window(*limits) if len(limits) == 2 else None,
            )
        )
    return known_channels(found)


def lsm_channels(metadata: Mapping[str, Any]) -> tuple[Channel, ...]:
    """Channels in the metadata of an LSM of Zeiss.

    Parameters
    ----------
    metadata : mapping
        As tifffile reads them.
    """
    found = metadata.get("ChannelColors", {})
    names, colours = found.get("ColorNames", ()), found.get("Colors", ())
    return known_channels(
        Channel(_text(name), _visible(_hexadecimal(colour)))
        for name, colour in zip(names, colours, strict=True)
    )


def czi_channels(metadata: ElementTree.Element, places: Sequence[int]) -> tuple[Channel, ...]:
    """Channels in the metadata of a CZI.

    Parameters
    ----------
    metadata : Element
    places : sequence of int
        Numbers of the channels that the image has.
    """
    listed = metadata.findall(".//Dimensions/Channels/Channel")
    shown = metadata.findall(".//DisplaySetting/Channels/Channel")
    colours = {one.get("Id"): one.findtext("Color") for one in shown}
    if not places or max(places) >= len(listed):
        return ()
    return known_channels(
        Channel(
            _text(one.get("Name")),
            _of_argb(colours.get(one.get("Id")) or one.findtext("Color")),
        )
        for one in (listed[place] for place in places)
    )


def omero_channels(omero: Mapping[str, Any]) -> tuple[Channel, ...]:
    """Channels in the attribute ``omero`` of an OME-Zarr.

    Returns
    -------
    tuple of Channel
        None for damaged metadata.
    """
    try:
        return _omero_channels(omero)
    except UNREADABLE:
        return ()


def _omero_channels(omero: Mapping[str, Any]) -> tuple[Channel, ...]:
    found = []
    for one in omero.get("channels", ()):
        window = one.get("window") or {}
        found.append(
            Channel(
                _text(one.get("label")),
                _of_argb(one.get("color")),
                _window(window.get("start"), window.get("end")),
            )
        )
    return known_channels(found)


def omero_json(
    channels: Sequence[Channel], dtype: np.dtype[Any], ranges: Sequence[Window]
) -> dict[str, Any]:
    """The attribute ``omero`` of an OME-Zarr.

    Parameters
    ----------
    channels : sequence of Channel
    dtype : dtype
        Of the image.
    ranges : sequence of (float, float)
        Smallest and largest grey level of each channel, the window of those without one.
    """
    colours = _DEFAULT_COLOURS.get(len(channels), _MORE_COLOURS)
    entries = []
    for number, (channel, found) in enumerate(zip(channels, ranges, strict=True)):
        start, end = channel.window or found
        low, high = (start, end)
        if dtype.kind in "ui":
            low, high = float(np.iinfo(dtype).min), float(np.iinfo(dtype).max)
        name = {} if channel.name is None else {"label": channel.name}
        entries.append(
            {
                **name,
                "color": channel.colour or colours[number % len(colours)],
                "window": {"start": start, "end": end, "min": low, "max": high},
                "active": True,
            }
        )
    return {"channels": entries}


def imagej_options(channels: Sequence[Channel], planes: int) -> dict[str, Any]:
    """Metadata of an ImageJ hyperstack, by the names of tifffile.

    Parameters
    ----------
    channels : sequence of Channel
    planes : int
        Number of slices; channels change fastest.
    """
    options: dict[str, Any] = {}
    if all(channel.colour for channel in channels):
        options["mode"] = "composite" if len(channels) > 1 else "color"
        options["LUTs"] = [_table(channel.colour or "") for channel in channels]
    if all(channel.window for channel in channels):
        options["Ranges"] = tuple(
            value for channel in channels if channel.window for value in channel.window
        )
    if all(channel.name for channel in channels):
        options["Labels"] = [channel.name for channel in channels] * (planes // len(channels))
    return options


def imagej_texts(metadata: Mapping[str, Any], planes: int) -> dict[str, Any]:
    """The text that ImageJ shows as *Info*, and the labels of all slices, by names of tifffile."""
    info, labels = metadata.get("Info"), metadata.get("Labels")
    found: dict[str, Any] = {"Info": info} if isinstance(info, str) else {}
    if isinstance(labels, list) and len(labels) == planes and {*map(type, labels)} == {str}:
        found["Labels"] = labels
    return found


def _text(value: Any) -> str | None:
    text = "" if value is None else str(value).strip()
    return text if text and text.isprintable() else None


def _window(start: Any, end: Any) -> Window | None:
    low, high = as_number(start), as_number(end)
    if low is None or high is None or not -math.inf < low < high < math.inf:
        return None
    return low, high


def _of_rgba(value: Any) -> str | None:
    """Colour of a signed integer: red, green, blue, alpha."""
    number = as_number(value)
    return None if number is None else _visible(f"{int(number) % 2**32:08X}"[:6])


def _of_argb(text: Any) -> str | None:
    """Colour of text like ``#FFRRGGBB``."""
    if not isinstance(text, str):
        return None
    digits = text.removeprefix("#")
    try:
        int(digits, 16)
    except ValueError:
        return None
    return _visible(digits[-6:].upper()) if len(digits) in (6, 8) else None


def _visible(colour: str) -> str | None:
    """A colour, unless it is black."""
    return None if colour == "000000" else colour


def _hexadecimal(colour: Sequence[int]) -> str:
    return "".join(f"{int(part) % 256:02X}" for part in colour[:3])


def _of_table(table: Any) -> str | None:
    """Colour of a lookup table (3, 256) that goes from black to it in equal steps."""
    table = np.asarray(table)
    if table.shape != (3, _LEVELS):
        return None
    colour = _hexadecimal(table[:, -1])
    difference = np.abs(table.astype(int) - _table(colour)).max()
    return colour if difference <= 1 and table.any() else None


def _table(colour: str) -> npt.NDArray[np.uint8]:
    """Lookup table (3, 256) from black to a colour."""
    parts = np.frombuffer(bytes.fromhex(colour), np.uint8)
    table: npt.NDArray[np.uint8] = np.rint(
        np.outer(parts, np.arange(_LEVELS) / (_LEVELS - 1))
    ).astype(np.uint8)
    return table
