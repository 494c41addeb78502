"""The application, whose commands are imported when one is called: torch takes seconds to load."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

COMMANDS = {
    "denoise": (
        "_denoise",
        "Train on IMAGE alone, and write the denoised image to OUTPUT or into a folder.",
    ),
    "check": (
        "_check",
        "Compare the residual of DENOISED with the noise of NOISY; a pass is no proof.",
    ),
    "train": (
        "_train",
        "Train on a folder of clean images with added noise, as in the AdaReNet paper.",
    ),
    "evaluate": (
        "_evaluate",
        "Add noise to clean images, denoise them with MODEL, and compute PSNR and SSIM.",
    ),
    "equivariance": (
        "_equivariance",
        "Rotate IMAGE, denoise it with MODEL, rotate it back, and compare with the denoised IMAGE.",
    ),
    "noise": (
        "_noise",
        "Measure gain, offset, read noise and autocorrelation of the noise of IMAGE.",
    ),
    "export": (
        "_export",
        "Write MODEL as OUTPUT, which denoises grey levels in other programs.",
    ),
    "import-checkpoint": (
        "_import",
        "Read CHECKPOINT of the published AdaReNet code and write it as MODEL.",
    ),
    "inspect": (
        "_inspect",
        "Say what FILE holds: a model and its training, or an image, its axes and pixel sizes.",
    ),
    "pretrain": (
        "_pretrain",
        "Train a network on freely usable scenes with synthetic noise, and write MODEL.",
    ),
    "demo": ("_demo", "Add noise to an image of scikit-image, denoise it, and write both."),
}
"""Module and summary of every command: the first line of its docstring."""


class LazyGroup(TyperGroup):
    """Lists the commands by their summaries, and imports the one that is called."""

    def __init__(self, **values: Any) -> None:
        super().__init__(**values)
        imported = dict(self.commands)
        self.commands = {
            name: imported.get(name) or TyperCommand(name, help=summary)
            for name, (_, summary) in COMMANDS.items()
        }

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Import the called command."""
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            import_command(name)
            command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
        return name, command, rest


def import_command(name: str) -> None:
    """Import the module of a command, which adds the command to the application."""
    import_module(f"napari_redenoise._cli.{COMMANDS[name][0]}")


app = typer.Typer(
    cls=LazyGroup,
    help="Denoise microscopy images with networks trained on their own noisy pixels.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        from napari_redenoise import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass
