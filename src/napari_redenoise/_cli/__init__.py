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
    _inspect,
    _noise,
    _pretrain,
    _train,
)
from napari_redenoise._cli._app import app
from napari_redenoise._cli._error_log import unexpected_error
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
    _inspect,
    _pretrain,
    _demo,
)


def main() -> None:
    """Run the command line; errors end it with a sentence and the exit code 1."""
    try:
        app()
    except RedenoiseError as error:
        typer.echo(f"redenoise: {error}", err=True)
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - whatever it is, a user gets a sentence
        typer.echo(f"redenoise: {unexpected_error(error, sys.argv)}", err=True)
        sys.exit(1)
