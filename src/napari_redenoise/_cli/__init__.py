"""The command line: ``redenoise``."""

from __future__ import annotations

import sys

import typer

from napari_redenoise._cli import (
    _check,
    _demo,
    _denoise,
    _equivariance,
    _evaluate,
    _export,
    _import,
    _noise,
    _pretrain,
    _train,
)
from napari_redenoise._cli._app import app
from napari_redenoise.errors import RedenoiseError

__all__ = ["app", "main"]

# Imported, because these modules add their commands to the application.
_COMMANDS = (
    _denoise,
    _check,
    _train,
    _evaluate,
    _equivariance,
    _noise,
    _export,
    _import,
    _pretrain,
    _demo,
)


def main() -> None:
    """Run the command line; a `RedenoiseError` ends it with its message."""
    try:
        app()
    except RedenoiseError as error:
        typer.echo(f"redenoise: {error}", err=True)
        sys.exit(1)
