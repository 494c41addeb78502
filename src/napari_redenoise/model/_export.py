"""Export of a trained model for other programs."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Literal

from napari_redenoise.config import Config
from napari_redenoise.io import (
    ModelFile,
    check_output,
    export_bioimageio,
    export_model,
)
from napari_redenoise.model._redenoiser import Redenoiser
from napari_redenoise.model._training_images import should_recorrupt

ExportFormat = Literal["program", "bioimageio"]


def export_format(path: str | Path) -> ExportFormat:
    """Choose the format of an exported model by the ending of its file.

    Returns
    -------
    str
        ``"bioimageio"`` for ``.zip``, else ``"program"``.
    """
    return "bioimageio" if Path(path).suffix.lower() == ".zip" else "program"


def check_export(
    path: str | Path, form: ExportFormat | None = None, *, overwrite: bool = False
) -> None:
    """Check that a model can be exported under a name.

    Parameters
    ----------
    path, form, overwrite
        As in `export_denoiser`.

    Raises
    ------
    OutputError
        When the name does not fit the format, or the file exists and ``overwrite`` is not set.
    """
    check_output(path, form or export_format(path), overwrite=overwrite)


def export_cautions(config: Config) -> tuple[str, ...]:
    """Describe what an exported network does not do, but the model itself does.

    Parameters
    ----------
    config : Config
        Of the trained model.

    Returns
    -------
    tuple of str
        One sentence each.
    """
    cautions = []
    if should_recorrupt(config):
        cautions.append(
            f"this model averages predictions over {config.objective.draws} draws of noise, but "
            "the exported network predicts once: its result is slightly noisier"
        )
    if config.objective.lines not in ("auto", "none"):
        cautions.append(
            "this model was trained after line correction, which the exported network does not "
            "include: use it for images without line offsets"
        )
    if config.objective.smooth_scales not in ("auto", 0):
        cautions.append(
            "this model removes smooth noise at coarser scales first, which the exported network "
            "does not include: use it for images whose noise is not smooth"
        )
    if config.network.neighbours:
        cautions.append(
            "this model uses the neighbouring planes of a stack, but the exported network sees "
            "single planes: its result is slightly noisier"
        )
    return tuple(cautions)


def export_denoiser(
    denoiser: Redenoiser,
    path: str | Path,
    form: ExportFormat | None = None,
    *,
    overwrite: bool = False,
) -> str:
    """Write a trained model for other programs.

    Parameters
    ----------
    denoiser : Redenoiser
        Trained or loaded.
    path : path
        Ends in ``.pt2`` or ``.zip``.
    form : str, optional
        ``"program"``, a program of `torch.export` that needs only torch, or ``"bioimageio"``, a
        package of the BioImage Model Zoo. Default by the ending.
    overwrite : bool

    Returns
    -------
    str
        A description of input and output.

    Raises
    ------
    ConfigError
        When nothing was trained or loaded.
    OutputError
        As in `check_export`, or when the file cannot be written.
    """
    check_export(path, form, overwrite=overwrite)
    session = denoiser.session
    session.apply_judgement()
    plan = session.trained_plan()
    network = copy.deepcopy(session.network()).cpu()
    normalisation = session.trained_normalisation()
    if (form or export_format(path)) == "program":
        return export_model(path, network, plan.config.network, normalisation, overwrite=overwrite)
    model = ModelFile(network, plan.config, normalisation, session.provenance, plan.as_json())
    cautions = export_cautions(plan.config)
    return export_bioimageio(path, model, cautions=cautions, overwrite=overwrite)
