"""The log of an unexpected error."""

from __future__ import annotations

import platform
import shlex
import tempfile
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from napari_redenoise import __version__
from napari_redenoise.errors import error_text, is_out_of_memory

_PACKAGES = ("torch", "numpy", "tifffile", "zarr", "dask", "typer")


def unexpected_error(error: BaseException, command: Sequence[str]) -> str:
    """Write an unexpected error to a log in the folder for temporary files.

    Parameters
    ----------
    error : BaseException
    command : sequence of str
        The program and its arguments.

    Returns
    -------
    str
        A sentence with the error, what to do, and where the log is.
    """
    kind = type(error).__name__
    said = error_text(error).splitlines()[0]
    what = kind if said == kind else f"{kind}: {said}"
    if is_out_of_memory(error):
        what, remedy = f"the memory is too small ({what})", "close other programs; the log is"
    else:
        what, remedy = f"unexpected error ({what})", "please report it with its log,"
    try:
        with tempfile.NamedTemporaryFile(
            "w",
            prefix="redenoise-error-",
            suffix=".log",
            delete=False,
            encoding="utf-8",
            errors="backslashreplace",
        ) as file:
            file.write(_log(error, command))
    except OSError as refused:
        return f"{what}: please report it; its log cannot be written ({error_text(refused)})"
    return f"{what}: {remedy} {file.name}"


def _log(error: BaseException, command: Sequence[str]) -> str:
    """Command, versions and traceback."""
    versions = [f"napari-redenoise {__version__}", *(f"{name} {_of(name)}" for name in _PACKAGES)]
    head = [
        shlex.join(["redenoise", *command[1:]]),
        f"Python {platform.python_version()}, {platform.platform()}",
        ", ".join(versions),
    ]
    return "\n".join([*head, "", *traceback.format_exception(error)])


def _of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
