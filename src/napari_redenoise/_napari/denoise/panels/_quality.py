"""The tab *Quality*: the quality checks of the result."""

from __future__ import annotations

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_redenoise._napari._words import wrapped
from napari_redenoise.assessment import QualityReport

MARKS = {"good": "●", "caution": "▲", "bad": "■", "unknown": "○"}
"""Distinguishable by shape, too, with colour blindness."""

MARKS_IN_WORDS = {
    "good": "no problem found",
    "caution": "check by eye",
    "bad": "do not use as it is",
    "unknown": "could not be checked",
}
COLOURS = {"good": "#2e9e5b", "caution": "#d99000", "bad": "#d64545", "unknown": "#888888"}

NO_PROMISE = (
    "There is no clean image to compare with: the checks detect known kinds of damage. Passing "
    "all of them does not prove that every detail is real."
)
NO_RESULT = "The quality checks of a result appear here after a run."


class QualityPanel(QWidget):
    """A line per check: mark, number and advice; below, the meaning of the numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.words = wrapped()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.words)
        layout.addStretch()
        self.report: QualityReport | None = None
        self.say(NO_RESULT)

    def say(self, sentence: str) -> None:
        """Show a message instead of a report."""
        self.report = None
        self.words.setText(sentence)

    def show_report(self, report: QualityReport) -> None:
        """Show all checks."""
        self.report = report
        found = []
        for check in report.checks:
            mark = f"<span style='color: {COLOURS[check.mark]}'>{MARKS[check.mark]}</span>"
            text = f"{mark} <b>{check.name}</b>: {check.figure}."
            found.append(f"<p>{text} {check.advice}</p>" if check.advice else f"<p>{text}</p>")
        meanings = [f"<p><b>{check.name}</b>: {check.meaning}</p>" for check in report.checks]
        legend = ", ".join(f"{MARKS[mark]} {said}" for mark, said in MARKS_IN_WORDS.items())
        self.words.setText(
            f"{''.join(found)}<p>{legend}.</p><p>{NO_PROMISE}</p>"
            f"<p><b>Meaning of the numbers</b></p>{''.join(meanings)}"
        )


def summary(report: QualityReport) -> str:
    """The outcome of the checks in one sentence."""
    doubts = [check.name.lower() for check in report.checks if check.mark in ("caution", "bad")]
    if doubts:
        return f"Look at the tab Quality: {', '.join(doubts)}."
    made = [check for check in report.checks if check.mark != "unknown"]
    if len(made) == len(report.checks):
        return "The checks found nothing wrong: see the tab Quality."
    found = f"; {'it' if len(made) == 1 else 'they'} found nothing wrong" if made else ""
    return f"{len(made)} of {len(report.checks)} checks could be made{found}: see the tab Quality."
