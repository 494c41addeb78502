"""What is decided after a fine-tuning: how much of it is delivered."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

EXPECTED, SPREAD = 0.7, 0.4
"""Where the least error lies before anything was measured, and its standard deviation."""

DOUBT = 0.15
"""Systematic error of a judge."""

WHOLE = 0.05
"""Shares so near to an end are taken for it."""

MOST_LOST = 0.0116
"""Of the squared error: 0.05 dB, which may be lost where the judge errs by its standard error."""


@dataclass(frozen=True)
class Estimate:
    """How far to go from the pretrained to the fine-tuned weights, by one judge.

    Attributes
    ----------
    share : float
        With the least expected error: 0 stays, 1 is the fine-tuned network.
    error : float
        Standard error of it.
    """

    share: float
    error: float


@dataclass(frozen=True)
class Judgement:
    """What was decided after a fine-tuning.

    Attributes
    ----------
    step : int
        Of the training, counted over all of the model's.
    share : float
        Of the way from the pretrained to the fine-tuned weights, which is delivered.
    change : float
        Mean square of what fine-tuning changed, over the expected error of the pretrained result.
    estimates : dict
        `Estimate` by the name of the judge; empty where nothing could be judged.
    """

    step: int
    share: float
    change: float
    estimates: dict[str, Estimate]

    def in_words(self) -> str:
        """What was decided, in one sentence."""
        return judgement_in_words(self.share)

    def describe(self) -> dict[str, Any]:
        """As JSON has it."""
        known = {
            name: {"share": _json(one.share), "error": _json(one.error)}
            for name, one in self.estimates.items()
        }
        return {
            "step": self.step,
            "share": self.share,
            "change": _json(self.change),
            "estimates": known,
        }


def judgement_in_words(share: float) -> str:
    """What is delivered of a fine-tuning, in one sentence."""
    if share == 0:
        return "Fine-tuning did not improve this image; the pretrained result is kept"
    if share == 1:
        return "Fine-tuning improved this image; the fine-tuned result is kept"
    return (
        f"{100 * share:.0f} % of the fine-tuning is kept: the expected error is least there, "
        "between the pretrained and the fine-tuned result"
    )


def share_of(estimates: Sequence[Estimate], change: float = 0.0) -> float:
    """How far to go, by the judge that trusts fine-tuning least.

    Parameters
    ----------
    estimates : sequence of Estimate
    change : float
        As of `Judgement`.

    Notes
    -----
    Each judge has the benefit of a standard error, or the least of three would be too low by
    chance. What it cannot tell leaves the expected share. But with the least error at a share s the
    error at w is larger than at 0 by ``change * (w**2 - 2 w s)`` of itself: that may be 0.05 dB
    where s is a standard error lower than estimated, and no more.
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
        share = min(share, low + math.sqrt(low**2 + MOST_LOST / change))
    return 0.0 if share < WHOLE else 1.0 if share > 1 - WHOLE else share


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None
