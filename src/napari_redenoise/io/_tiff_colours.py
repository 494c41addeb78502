"""Photometric interpretation of a TIFF: alpha, palettes, and colours that are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from napari_redenoise.data import default_axes
from napari_redenoise.errors import InputError

Plain = tuple[npt.NDArray[Any], str, tuple[str, ...]]

_PHOTOMETRIC = tifffile.PHOTOMETRIC
_LEVELS = (_PHOTOMETRIC.MINISBLACK, _PHOTOMETRIC.MINISWHITE, _PHOTOMETRIC.RGB, _PHOTOMETRIC.PALETTE,
           _PHOTOMETRIC.MASK, _PHOTOMETRIC.LINEAR_RAW)  # fmt: skip


def check_colours(page: Any) -> None:
    """Refuse pages whose numbers are neither grey levels nor red, green and blue.

    Raises
    ------
    InputError
        For CMYK, Lab, colour filter arrays and the like.
    """
    # JPEG's own YCbCr is converted by the decoder.
    is_jpeg = "JP" in getattr(page.compression, "name", "")
    if page.photometric in _LEVELS or (page.photometric == _PHOTOMETRIC.YCBCR and is_jpeg):
        return
    name = {"SEPARATED": "CMYK"}.get(found := _name(page.photometric), found)
    raise InputError(
        f"it holds colours of the kind {name}, expected grey levels or RGB: convert it first"
    )


def plain_pixels(array: npt.NDArray[Any], axes: str, page: Any, *, has_lookup: bool) -> Plain:
    """Reduce pixels to grey levels or RGB.

    Parameters
    ----------
    array : array
    axes : str
        Of the series, with ``S`` for the samples of a pixel.
    page : tifffile.TiffPage
        The first of the series.
    has_lookup : bool
        Whether a palette only displays grey levels, as in ImageJ. Palettes of growing brightness
        do so, too.

    Returns
    -------
    array : array
    axes : str
        One letter per axis, ``C`` for channels and colours.
    notes : tuple of str
        What is left out.
    """
    if page.photometric == _PHOTOMETRIC.PALETTE and "S" not in axes:
        return _without_palette(array, axes, page, has_lookup=has_lookup)
    array, axes, notes = _without_alpha(array, axes, page)
    return array, known_axes(axes, array.ndim), notes


def known_axes(axes: str, ndim: int) -> str:
    """Axes of a TIFF, with colour samples as channels and a letter for every unnamed axis.

    Parameters
    ----------
    axes : str
        As tifffile calls them.
    ndim : int
    """
    if not {"Y", "X"} <= set(axes):
        return default_axes(ndim)
    for samples, channels in (("YXS", "YXC"), ("SYX", "CYX")):
        if axes.endswith(samples):
            # Of colours, further channels are images: ImageJ shows them one after the other.
            axes = axes.replace("C", "Q").replace(samples, channels)
    # tifffile calls unknown axes Q or I, possibly more than once.
    unnamed = sum(axis in "QI" for axis in axes)
    free = [letter for letter in "PRSTZ" if letter not in axes]
    names = iter(free[len(free) - unnamed :])
    return "".join(next(names) if axis in "QI" else axis for axis in axes)


def grey_if_equal(colours: npt.NDArray[Any], axes: str) -> tuple[npt.NDArray[Any], str]:
    """Reduce colours whose red, green and blue are equal to grey levels.

    Parameters
    ----------
    colours : array
        Colours on the last axis.
    axes : str
        Without that axis.
    """
    if (colours == colours[..., :1]).all():
        return colours[..., 0], axes
    return colours, f"{axes}C"


def _without_palette(array: npt.NDArray[Any], axes: str, page: Any, *, has_lookup: bool) -> Plain:
    axes, table = known_axes(axes, array.ndim), np.asarray(page.colormap)
    is_grey = bool((table == table[0]).all())
    is_ramp = bool((np.diff(table.astype(np.int64), axis=1) >= 0).all())
    if has_lookup or (is_ramp and not is_grey):
        return array, axes, ("its colour table is left out: the result has its grey levels",)
    if not (table % 256).any() or not (table % 257).any():
        table = (table >> 8).astype(np.uint8)
    colours, axes = grey_if_equal(np.moveaxis(table[:, array], 0, -1), axes)
    return colours, axes, ()


def _without_alpha(array: npt.NDArray[Any], axes: str, page: Any) -> Plain:
    """Remove samples that are no colour, which are not measured."""
    if "S" not in axes:
        return array, axes, ()
    place = axes.index("S")
    kept = _colour_samples(page, array.shape[place])
    if len(kept) == array.shape[place]:
        return array, axes, ()
    array = np.take(array, kept, axis=place)
    if len(kept) == 1:
        array, axes = array.squeeze(place), axes.replace("S", "")
    is_alpha = 0 not in map(int, page.extrasamples)
    what = "its alpha channel is" if is_alpha else "its samples beside red, green and blue are"
    return array, axes, (f"{what} left out",)


def _colour_samples(page: Any, count: int) -> list[int]:
    if page.photometric in (_PHOTOMETRIC.RGB, _PHOTOMETRIC.YCBCR):
        return list(range(min(count, 3)))
    extra = tuple(map(int, page.extrasamples))
    kinds = (*[0] * (count - len(extra)), *extra)
    return [number for number, kind in enumerate(kinds) if kind == 0]


def _name(photometric: Any) -> str:
    return str(getattr(photometric, "name", photometric))
