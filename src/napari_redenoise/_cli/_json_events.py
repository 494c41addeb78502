"""Events of a command as lines of JSON on standard output, described in docs/automation.md."""

from __future__ import annotations

import contextlib
import functools
import json
import math
import sys
from collections.abc import Callable
from typing import Any, ParamSpec

import typer

from napari_redenoise import __version__
from napari_redenoise.errors import RedenoiseError, error_text
from napari_redenoise.inference import TileDone
from napari_redenoise.model import Judgement
from napari_redenoise.training import StepDone

_Parameters = ParamSpec("_Parameters")
_USAGE = 2


def write_event(event: str, **fields: Any) -> None:
    """Print an event."""
    typer.echo(json_text({"event": event, **fields}))


def event_fields(event: StepDone | TileDone | Judgement) -> dict[str, Any]:
    """The arguments of `write_event` for an event of training or prediction."""
    match event:
        case StepDone(step=step, steps=steps):
            return {
                "event": "step",
                "step": step,
                "steps": steps,
                "loss": finite_or_none(event.loss),
            }
        case TileDone(tile=tile, tiles=tiles):
            return {"event": "tile", "tile": tile, "tiles": tiles}
    return {"event": "judgement", "judgement": event.as_json()}


def json_text(value: object, **options: Any) -> str:
    """Write JSON for standard output."""
    # Its own escapes are no JSON, so what is not Unicode gets those of JSON.
    is_unicode = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf")
    return json.dumps(value, ensure_ascii=not is_unicode, default=str, **options)


def finite_or_none(number: float) -> float | None:
    """A number that JSON can hold, or None."""
    return number if math.isfinite(number) else None


def with_json_events(command: Callable[_Parameters, None]) -> Callable[_Parameters, None]:
    """Let the events of a command begin with ``start`` and end with ``end``, also after errors.

    Parameters
    ----------
    command : callable
        Prints events if its argument ``as_json`` is true.

    Returns
    -------
    callable
        With the same signature.
    """

    @functools.wraps(command)
    def run(*arguments: _Parameters.args, **keywords: _Parameters.kwargs) -> None:
        if keywords.get("as_json"):
            _run(lambda: command(*arguments, **keywords), command.__name__)
        else:
            command(*arguments, **keywords)

    return run


def _run(command: Callable[[], None], name: str) -> None:
    _try_to_write("start", command=name, version=__version__)
    code: object = 1
    try:
        command()
        code = 0
    except typer.Exit as end:
        code = end.exit_code
        raise
    except SystemExit as end:
        code = end.code
        raise
    except typer.BadParameter as error:
        code = _USAGE
        _try_to_write("error", message=error.format_message())
        raise
    except RedenoiseError as error:
        _try_to_write("error", message=str(error))
        raise
    except Exception as error:
        _try_to_write("error", message=f"{type(error).__name__}: {error_text(error)}")
        raise
    finally:
        _try_to_write("end", exit_code=code)


def _try_to_write(event: str, **fields: Any) -> None:
    with contextlib.suppress(OSError):
        write_event(event, **fields)
