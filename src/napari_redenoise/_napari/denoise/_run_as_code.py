"""A finished run as code that repeats it."""

from __future__ import annotations

from typing import Any

from napari_redenoise._napari.denoise._run import Job
from napari_redenoise.config import Config
from napari_redenoise.model import RunAsCode


def is_repeatable(job: Job) -> bool:
    """Whether code can repeat the run; else it loads the trained model.

    Continued trainings, and those on several layers or a marked region, cannot be repeated from
    one file.
    """
    is_first = job.action in ("train", "instant")
    return is_first and not job.others and job.region is None


def run_as_code(job: Job, provenance: dict[str, Any], series: int | None) -> RunAsCode:
    """Make the code of a finished run.

    Parameters
    ----------
    job : Job
    provenance : dict
        Metadata of the result.
    series : int or None
        Series of the file that the layer shows.
    """
    steps, config = provenance["steps"], Config(**provenance["config"])
    return RunAsCode(
        config=Config(**provenance["asked"]),
        source=job.source.file,
        axes=job.source.axes,
        target=None if job.target is None else job.target.file or "",
        device=str(job.denoiser.device),
        stop_after=steps if 0 < steps < config.training.total_steps else None,
        model=None if is_repeatable(job) else "model.safetensors",
        as_source=job.as_source or job.source.colour,
        series=series,
    )
