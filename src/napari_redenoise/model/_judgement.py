"""The decision after fine-tuning: how much of it is kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import ConfigDict

from napari_redenoise.config import JsonDataclass

EXPECTED, SPREAD = 0.7, 0.4
"""Prior mean of the best share, and its standard deviation."""

DOUBT = 0.15
"""Systematic error of a judge."""

ROUNDED = 0.05
"""Shares this close to 0 or 1 are rounded to it."""

MAX_LOSS = 0.0116
"""Share of the squared error, 0.05 dB, that may be lost by one standard error of an estimate."""


@dataclass(frozen=True)
class Estimate:
    """An estimate of the best share of the fine-tuning.

    Attributes
    ----------
    share : float
        Share with the least expected error: 0 is the pretrained network, 1 the fine-tuned one.
    error : float
        Standard error of the share.
    """

    share: float
    error: float


@dataclass(frozen=True)
class Judgement(JsonDataclass):
    """The decision after fine-tuning.

    Attributes
    ----------
    step : int
        Training step, counted over all trainings of the model.
    share : float
        Share of the fine-tuning that is kept: weights are interpolated from the pretrained (0) to
        the fine-tuned ones (1).
    change : float
        Mean square of the change by fine-tuning over the expected squared error of the pretrained
        result.
    estimates : dict
        `Estimate` by its name; empty where nothing could be estimated.
    """

    __pydantic_config__ = ConfigDict(ser_json_inf_nan="null")

    step: int
    share: float
    change: float
    estimates: dict[str, Estimate]

    def in_words(self) -> str:
        """Describe the decision in one sentence."""
        return judgement_in_words(self.share, [one.share for one in self.estimates.values()])


def judgement_in_words(share: float, estimates: Iterable[float | None]) -> str:
    """Describe the share of the fine-tuning that is kept, in one sentence.

    ``estimates`` are those of the share; None or NaN where there were too few pixels, or nothing
    has changed.
    """
    known = [one for one in estimates if one is not None and not math.isnan(one)]
    if share == 0 and not known:
        return "The fine-tuning cannot be judged on this image; the pretrained result is kept"
    if share == 0:
        return "Fine-tuning did not improve this image; the pretrained result is kept"
    if share == 1:
        return "Fine-tuning improved this image; the fine-tuned result is kept"
    return (
        f"{100 * share:.0f} % of the fine-tuning is kept: the expected error is least there, "
        "between the pretrained and the fine-tuned result"
    )


def share_of(estimates: Sequence[Estimate], change: float = 0.0) -> float:
    """Choose the share of the fine-tuning by the lowest of several estimates.

    One standard error is added to every estimate, or the lowest of three would be too low by
    chance. The prior share is combined with it by their uncertainties. With the best share s, the
    error at w exceeds that at 0 by ``change * (w**2 - 2 w s)``, relatively. This is limited to
    0.05 dB for an s that is one standard error lower than estimated.
    """
    if not estimates:
        return EXPECTED
    if not all(math.isfinite(one.share + one.error) for one in estimates):
        return 0.0
    least = min(estimates, key=lambda one: one.share + one.error)
    weight = SPREAD**2 / (SPREAD**2 + DOUBT**2 + least.error**2)
    share = EXPECTED + weight * (least.share + least.error - EXPECTED)
    if change > 0:
        low = max(least.share - least.error, 0.0)
        share = min(share, low + math.sqrt(low**2 + MAX_LOSS / change))
    return 0.0 if share < ROUNDED else 1.0 if share > 1 - ROUNDED else share
