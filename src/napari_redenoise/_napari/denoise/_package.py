"""The package of the BioImage Model Zoo: its name is asked for, and a thread writes it."""

from __future__ import annotations

import logging
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QWidget

from napari_redenoise.errors import OutputError, RedenoiseError
from napari_redenoise.io import write_under_free_name
from napari_redenoise.model import Redenoiser, export_cautions, export_denoiser

logger = logging.getLogger(__name__)

PACKAGE = ".bioimageio.zip"


def ask_package(parent: QWidget, stem: Path) -> Path | None:
    """Ask for the file of a package; None where none is chosen.

    The dialog does not ask about existing files: `write_package` replaces none.
    """
    name, _ = QFileDialog.getSaveFileName(
        parent,
        "Export to the BioImage Model Zoo",
        f"{stem}{PACKAGE}",
        f"BioImage Model Zoo (*{PACKAGE})",
        options=QFileDialog.Option.DontConfirmOverwrite,
    )
    if not name:
        return None
    return Path(name if name.lower().endswith(".zip") else f"{name}{PACKAGE}")


def write_package(denoiser: Redenoiser, wanted: Path) -> str:
    """Write a package under a free name; return the outcome in words.

    Raises
    ------
    RedenoiseError
        When the network cannot be exported, or the file cannot be written.
    """

    def write(path: Path) -> str:
        return export_denoiser(denoiser, path, "bioimageio")

    try:
        path = write_under_free_name(wanted, write)
    except RedenoiseError:
        raise
    except Exception as error:
        # Torch raises errors of many types for networks that it cannot trace.
        logger.exception("the network cannot be exported")
        raise OutputError(
            f"the network cannot be exported ({error}): use Save model for its weights"
        ) from error
    kept = "" if path == wanted else f" '{wanted.name}' exists and is kept."
    cautions = export_cautions(denoiser.session.trained_plan().config)
    notes = "".join(f" Note: {caution}." for caution in cautions)
    return f"Wrote {path}.{kept}{notes}"
