"""Settings of a batch, and what of them decides whether a result is up to date."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from napari_redenoise.config import Config
from napari_redenoise.errors import ConfigError, InputError
from napari_redenoise.io import fingerprint

OutputFormat = Literal["tiff", "zarr"]
ALL: Literal["all"] = "all"


@dataclass(frozen=True)
class BatchSettings:
    """How the images of a batch are denoised.

    Attributes
    ----------
    config : Config
    axes : str or None
        One letter per axis, of every image; default the axes in the files.
    model : Path or None
        Denoise with this trained model, without training.
    train_on : Path, "all" or None
        Train once, on this image or on a sample of all, and denoise all images with that model.
        By default every image has its own training.
    save_model : Path or None
        File of the model that is trained once; default ``model.safetensors`` beside the results.
    stop_after : int or None
        Stop every training after this step.
    as_source : bool
        Whether denoised images have the integer type of their source.
    masks : Path or None
        Folder for the fusion masks.
    has_branches : bool
        Whether to write the outputs of both branches, too.
    output_format : "tiff", "zarr" or None
        Format of the results; default OME-Zarr for an OME-Zarr and for results beyond 4 GiB,
        and TIFF for others.
    overwrite : bool
        Replace existing files. Results that are up to date are skipped nevertheless.

    Raises
    ------
    ConfigError
        When the settings exclude each other.
    """

    config: Config = field(default_factory=Config)
    axes: str | None = None
    model: Path | None = None
    train_on: Path | Literal["all"] | None = None
    save_model: Path | None = None
    stop_after: int | None = None
    as_source: bool = False
    masks: Path | None = None
    has_branches: bool = False
    overwrite: bool = False
    output_format: OutputFormat | None = None

    def __post_init__(self) -> None:
        if self.model is not None and self.train_on is not None:
            raise ConfigError("a given model is not trained: omit the model, or the image to train")
        if self.save_model is not None and self.train_on is None:
            raise ConfigError(
                "every image has its own model, and one was to be saved: omit its name, or train "
                "on one image or on all"
            )
        if self.train_on == ALL and self.config.objective.needs_target:
            raise ConfigError(
                "noise2noise trains on consecutive frames of one image: choose the image to train "
                "on, or another objective"
            )

    @property
    def is_shared(self) -> bool:
        """Whether one model denoises all images."""
        return self.model is not None or self.train_on is not None

    @property
    def read_files(self) -> list[Path]:
        """Files that are read besides the images."""
        return [one for one in (self.model, self.train_on) if isinstance(one, Path)]

    def of_training(self) -> dict[str, Any]:
        """Settings of a training, as plain values."""
        return {
            "config": self.config.model_dump(mode="json"),
            "axes": self.axes,
            "stop_after": self.stop_after,
        }

    def of_result(self, model: str | None) -> dict[str, Any]:
        """Settings that decide what a result is.

        Parameters
        ----------
        model : str or None
            SHA-256 of the file of a shared model.
        """
        if model is None:
            return {**self.of_training(), "as_source": self.as_source}
        return {"model": model, "axes": self.axes, "as_source": self.as_source}


def file_state(path: Path) -> dict[str, int]:
    """Size and time of modification of a file or OME-Zarr, by which a change is noticed.

    Raises
    ------
    InputError
        When the file is missing.
    """
    try:
        count, size, modified = (fingerprint(path) or [])[1:4]
    except OSError as error:
        raise InputError(f"there is no image file {path}: check the name") from error
    if count == 0:
        raise InputError(f"there is no image file {path}: check the name")
    return {"size": size, "mtime_ns": modified}
