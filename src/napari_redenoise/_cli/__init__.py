"""The command line: ``redenoise``."""

from __future__ import annotations

import io
import os
import sys

import typer

from napari_redenoise._cli._commands import COMMANDS, app, import_command
from napari_redenoise.errors import RedenoiseError

__all__ = ["COMMANDS", "app", "import_command", "main"]


def main() -> None:
    """Run the command line; errors end it with a sentence and the exit code 1."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names of files may be of another encoding, and must not end a run.
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except RedenoiseError as error:
        typer.echo(f"redenoise: {error}", err=True)
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - whatever it is, a user gets a sentence
        from napari_redenoise._cli._error_log import unexpected_error

        typer.echo(f"redenoise: {unexpected_error(error, sys.argv)}", err=True)
        sys.exit(1)


def _open_closed_streams() -> None:
    """Discard what is written to streams that were closed at the start, as by ``2>&-``.

    Otherwise the next file that is opened has their number, and receives what is written to them.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
