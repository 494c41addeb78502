"""Batch processing for ``redenoise denoise --out-dir``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
from tqdm import tqdm

from napari_redenoise._cli._interruption import PARTIAL, Interruption, interruption
from napari_redenoise._cli._json_events import event_fields
from napari_redenoise.assessment import file_checks
from napari_redenoise.errors import ConfigError
from napari_redenoise.model import Judgement, TileDone
from napari_redenoise.recipes import (
    BatchEvent,
    BatchRun,
    BatchSettings,
    FileDone,
    FileFailed,
    FileSkipped,
    FileStarted,
    ModelTrained,
    OutputFormat,
    TrainingPlanned,
    find_images,
)
from napari_redenoise.training import StepDone


def denoise_batch(
    inputs: Sequence[Path],
    folder: Path,
    settings: BatchSettings,
    device: str | None,
    *,
    subfolders: bool,
    report: bool,
    as_json: bool = False,
) -> None:
    """Denoise many images into a folder; a failed one does not stop the others.

    ``report`` prints the quality checks of every image.
    """
    folders = [folder] if settings.masks is None else [folder, settings.masks]
    images = find_images(inputs, folders, subfolders=subfolders)
    run = BatchRun(images, folder, settings, device, file_checks)
    with interruption(as_json=as_json) as asked:
        outcome = _Outcome(asked, report=report)
        outcome.follow(run.events(asked.is_set))
        asked.say("\n".join(outcome.sentences(len(run.files))), err=bool(outcome.exit_code))
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


def refuse_in_batch(**given: object) -> None:
    """Refuse options that belong to a single image."""
    for name, value in given.items():
        if value is not None:
            raise ConfigError(
                f"--{name} belongs to one image, and --out-dir denoises several: omit one of them"
            )


def refuse_single(
    *, train_on: str | None, subfolders: bool, output_format: OutputFormat | None
) -> None:
    """Refuse options of a batch for a single image."""
    given = {"--train-on": train_on, "--subfolders": subfolders, "--format": output_format}
    for option, value in given.items():
        if value:
            raise ConfigError(f"{option} belongs to several images: add --out-dir, or omit it")


@dataclass
class _Outcome:
    """Prints the events of a batch, and counts them."""

    asked: Interruption
    report: bool
    done: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        failed = PARTIAL if self.done or self.skipped else 1
        return self.asked.exit_code or (failed if self.failures else 0)

    def follow(self, events: Iterable[BatchEvent]) -> None:
        """Print events as they come, with a progress bar for the work on a file."""
        with tqdm(file=self.asked.bar_stream(), leave=False, delay=0.5) as bar:
            for event in events:
                self._emit(event)
                if isinstance(event, StepDone):
                    _advance(bar, "training", event.step, event.steps)
                    if event.note is not None:
                        self.asked.say(event.note, err=True)
                elif isinstance(event, TileDone):
                    _advance(bar, "denoising", event.tile, event.tiles)
                else:
                    bar.clear()
                    self._note(event)

    def _emit(self, event: BatchEvent) -> None:
        """Print an event as JSON, if requested."""
        match event:
            case StepDone() | TileDone() | Judgement():
                self.asked.emit(**event_fields(event))
            case FileSkipped():
                self.asked.emit("file_skipped", image=str(event.file.image))
            case FileStarted():
                image, number, count = str(event.file.image), event.number, event.count
                self.asked.emit("file_started", image=image, number=number, count=count)
            case TrainingPlanned():
                source = None if event.file is None else str(event.file.image)
                self.asked.emit("plan", image=source, plan=event.plan.as_json())
            case ModelTrained():
                self.asked.emit("model_trained", record=event.record)
            case FileDone():
                self.asked.emit("file_done", image=str(event.file.image), record=event.record)
            case FileFailed():
                self.asked.emit("file_failed", image=str(event.file.image), message=event.reason)

    def _note(self, event: BatchEvent) -> None:
        match event:
            case FileSkipped():
                self.skipped += 1
            case FileStarted():
                self.asked.say(f"{event.number} of {event.count}: {event.file.image}")
            case TrainingPlanned():
                self._say(event.plan.sentences())
            case Judgement():
                self._say([f"{event.in_words()}."])
            case ModelTrained():
                self._say([f"trained {event.record['model']} in {event.record['seconds']:.0f} s"])
            case FileDone():
                self.done += 1
                self._say(_result_sentences(event, report=self.report))
            case FileFailed():
                self.failures.append(event.reason)
                self.asked.say(f"redenoise: {event.reason}", err=True)

    def _say(self, sentences: Iterable[str]) -> None:
        for sentence in sentences:
            self.asked.say(f"  {sentence}")

    def sentences(self, count: int) -> list[str]:
        """Summary of the run, and the list of the images that failed."""
        was = "was" if self.skipped == 1 else "were"
        current = f", {self.skipped} {was} up to date" if self.skipped else ""
        found = [f"denoised {self.done} of {count} images{current}"]
        if self.asked.exit_code:
            found[0] = f"redenoise: stopped; {found[0]}; the same command continues"
        if self.failures:
            found += [f"not denoised: {len(self.failures)}", *(f"  {why}" for why in self.failures)]
        return found


def _result_sentences(event: FileDone, *, report: bool) -> list[str]:
    quality = event.record["quality"]
    seconds = event.record["seconds"]
    wrote = f"wrote {event.file.output} in {seconds:.0f} s; quality checks: {quality['mark']}"
    cautions = [f"caution: {sentence}" for sentence in event.record["cautions"]]
    return [wrote, *cautions, *(quality["sentences"] if report else ())]


def _advance(bar: Any, what: str, number: int, total: int) -> None:
    if bar.desc != f"{what}: " or number < bar.n:
        bar.set_description(what, refresh=False)
        bar.reset(total)
    bar.update(number - bar.n)
