"""What happens in the worker's thread. It knows arrays and events, and no widget."""

from __future__ import annotations

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event
from typing import Any

from napari_redenoise._denoiser import Redenoiser
from napari_redenoise._layers import LayerImage, as_shown, make_canvas, paint
from napari_redenoise._previews import SHARE as PREVIEW_SHARE
from napari_redenoise._previews import PreviewDone, Window
from napari_redenoise.inference import TileDone
from napari_redenoise.training import StepDone

LONGEST_WAIT = 0.5
"""Seconds to wait for a preview to be drawn."""


@dataclass
class RunControl:
    """How the viewer's thread talks to a run.

    Attributes
    ----------
    stop : Event
        Ends training; what was learned is used.
    cancel : Event
        Ends everything; no result.
    window : Window or None
        What the viewer shows now; replaced as a whole, never changed in place.
    shown : Event
        Set when the last preview has been drawn. The run waits for it: drawing a layer while all
        processors compute takes several times longer, and the viewer would freeze meanwhile.
    """

    stop: Event = field(default_factory=Event)
    cancel: Event = field(default_factory=Event)
    window: Window | None = None
    shown: Event = field(default_factory=Event)

    def abandon(self) -> None:
        """End training and prediction."""
        self.stop.set()
        self.cancel.set()


@dataclass(frozen=True)
class Begun:
    """The array has been made in which previews and the result appear."""

    canvas: Any


@dataclass(frozen=True)
class Trained:
    """Training has ended; the whole layer is denoised next."""


@dataclass(frozen=True)
class Finished:
    """The canvas holds the denoised image."""

    mask: Any
    provenance: dict[str, Any]


RunEvent = Begun | StepDone | PreviewDone | Trained | TileDone


class RunFailed(Exception):
    """A run ended with an error that nobody foresaw; the error is its cause."""


def run(
    denoiser: Redenoiser,
    source: LayerImage,
    control: RunControl,
    second: LayerImage | None = None,
) -> Generator[RunEvent, None, Finished | None]:
    """Train on a layer and denoise it; returns None when cancelled.

    Raises
    ------
    RunFailed
        In place of a RuntimeError, of which superqt's workers tell nobody.
    """
    try:
        return (yield from _run(denoiser, source, control, second))
    except RuntimeError as error:
        raise RunFailed(f"{type(error).__name__}: {error}") from error


def _run(
    denoiser: Redenoiser, source: LayerImage, control: RunControl, second: LayerImage | None
) -> Generator[RunEvent, None, Finished | None]:
    canvas = make_canvas(source)
    yield Begun(canvas)
    for event in denoiser.fit_events(
        source.array,
        source.axes,
        second=None if second is None else second.array,
        view=lambda: control.window,
        should_stop=control.stop.is_set,
    ):
        if isinstance(event, PreviewDone):
            paint(source, canvas, event.window, event.denoised)
            control.shown.clear()
        yield event
        if isinstance(event, PreviewDone):
            control.shown.wait(LONGEST_WAIT)
    if control.cancel.is_set() or not denoiser.provenance:
        # Cancelled, or stopped before anything was learned.
        return None
    yield Trained()
    target = None if source.colour else canvas
    outputs = denoiser.allocate(source.array, source.axes, denoised=target)
    yield from denoiser.predict_events(
        source.array, source.axes, outputs=outputs, should_stop=control.cancel.is_set
    )
    if control.cancel.is_set():
        return None
    if source.colour:
        canvas[...] = as_shown(outputs["denoised"], source)
    return Finished(outputs.get("mask"), dict(denoiser.provenance))


def estimate(denoiser: Redenoiser, source: LayerImage) -> float:
    """Seconds that a run will take, with its previews; measures the machine the first time.

    In a thread of its own, which ends: with it go its OpenMP threads. While two threads of a
    process have such teams, both compute about a quarter slower.
    """
    with ThreadPoolExecutor(1) as executor:
        seconds = executor.submit(denoiser.estimate_seconds, source.array, source.axes).result()
    return seconds * (1 + PREVIEW_SHARE)
