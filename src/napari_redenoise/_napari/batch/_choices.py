"""The choices of a batch, and the settings of the run that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from napari_redenoise._napari.denoise._pretrained_words import why_not_pretrained
from napari_redenoise.config import Config
from napari_redenoise.errors import ConfigError, InputError
from napari_redenoise.model import Redenoiser
from napari_redenoise.recipes import BatchSettings, NoImagesError, OutputFormat, find_images

Training = Literal["each", "one", "all", "none", "given"]

NO_INPUT = "choose a folder or files first"


class RunOptions(NamedTuple):
    """The options of the dock that hold for a batch.

    Attributes
    ----------
    config : Config
    device : str or None
    as_source : bool
    model : Redenoiser or None
        The chosen trained network.
    model_file : Path or None
        Its file; None for a network of this session.
    """

    config: Config
    device: str | None = None
    as_source: bool = False
    model: Redenoiser | None = None
    model_file: Path | None = None


@dataclass(frozen=True)
class BatchChoices:
    """What is denoised, how it is trained, and where the results go.

    Attributes
    ----------
    inputs : tuple of Path
        A folder, or files.
    folder : Path
        For the results.
    pattern : str or None
        Names of the images in a folder.
    subfolders : bool
        Whether to include images in subfolders.
    training : str
        On ``each`` image, once on ``one`` or on a sample of ``all``; ``none`` for the pretrained
        network as it is, ``given`` for the trained network of the options.
    train_on : Path or None
        The image of a training on one.
    output_format : "tiff", "zarr" or None
    """

    inputs: tuple[Path, ...]
    folder: Path
    pattern: str | None = None
    subfolders: bool = False
    training: Training = "each"
    train_on: Path | None = None
    output_format: OutputFormat | None = None

    def find(self) -> dict[Path, Path]:
        """Find the images, as `find_images`; results are none.

        Raises
        ------
        InputError
            When there are none.
        """
        if not self.inputs:
            raise InputError(f"there are no images to denoise: {NO_INPUT}")
        folders = [self.folder] if self.folder.name else []
        pattern = self.pattern or None
        try:
            return find_images(self.inputs, folders, subfolders=self.subfolders, pattern=pattern)
        except NoImagesError as error:
            places = ", ".join(map(str, self.inputs))
            inside = "" if self.subfolders else ", or tick subfolders"
            raise InputError(
                f"there are no images to denoise in {places}: choose another folder{inside}"
            ) from error

    def settings(self, options: RunOptions, model: Path | None) -> BatchSettings:
        """Settings of the run; ``model`` is the file of the trained network of the options.

        Raises
        ------
        ConfigError
            When the choices exclude each other.
        """
        return BatchSettings(
            without_training(options.config) if self.training == "none" else options.config,
            model=model if self.training == "given" else None,
            train_on={"one": self.train_on, "all": "all"}.get(self.training),
            as_source=options.as_source,
            output_format=self.output_format,
        )


def without_training(config: Config) -> Config:
    """Return the configuration of the pretrained network as it is.

    Raises
    ------
    ConfigError
        When there is no pretrained network of this kind.
    """
    asked = config.replace({"training.start": "pretrained", "objective.kind": "auto"})
    missing = why_not_pretrained(asked, 1)
    if missing:
        raise ConfigError(f"{missing}: choose C4 in the tab Options, or a training")
    return asked.replace({"training.steps": 0})
