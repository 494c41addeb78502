"""One model: how it is planned, trained, judged, used and kept."""

from napari_redenoise.model._judgement import Judgement, judgement_in_words
from napari_redenoise.model._material import (
    draws_of,
    figures,
    make_objective,
    shows_draws,
    usable_alone,
)
from napari_redenoise.model._noise_reports import ChannelStack, noise_reports
from napari_redenoise.model._objective_choice import (
    LINES_IN_WORDS,
    advise,
    resolve,
    smoothed,
)
from napari_redenoise.model._pretrained import has_warm_start, resolve_start
from napari_redenoise.model._previews import SHARE as PREVIEW_SHARE
from napari_redenoise.model._previews import PreviewDone, Window
from napari_redenoise.model._redenoiser import Redenoiser, Result
from napari_redenoise.model._reproduce import as_command, as_python
from napari_redenoise.model._snapshots import Snapshot

__all__ = [
    "LINES_IN_WORDS",
    "PREVIEW_SHARE",
    "ChannelStack",
    "Judgement",
    "PreviewDone",
    "Redenoiser",
    "Result",
    "Snapshot",
    "Window",
    "advise",
    "as_command",
    "as_python",
    "draws_of",
    "figures",
    "has_warm_start",
    "judgement_in_words",
    "make_objective",
    "noise_reports",
    "resolve",
    "resolve_start",
    "shows_draws",
    "smoothed",
    "usable_alone",
]
