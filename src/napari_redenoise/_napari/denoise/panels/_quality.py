"""The part of the dock that shows the quality checks of the result."""

from __future__ import annotations

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_redenoise._napari._words import wrapped
from napari_redenoise.assessment import QualityReport

MARKS = {"good": "●", "caution": "▲", "bad": "■", "unknown": "○"}
"""Told apart by their shape as well, for those who do not see the colours."""

MARKS_IN_WORDS = {
    "good": "nothing found",
    "caution": "look closer",
    "bad": "do not use it as it is",
    "unknown": "cannot be told",
}
COLOURS = {"good": "#2e9e5b", "caution": "#d99000", "bad": "#d64545", "unknown": "#888888"}

NO_PROMISE = (
    "There is no clean picture to compare with: these checks find what has gone wrong in known "
    "ways. That all are good does not prove that every detail is real."
)


class QualityPanel(QWidget):
    """A line per check: a mark, the figure, what to do; below, what the figures are."""

    def __init__(self) -> None:
        super().__init__()
        self.words = wrapped()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.words)
        layout.addStretch()
        self.report: QualityReport | None = None
        self.say("After a run, the result is examined here.")

    def say(self, sentence: str) -> None:
        """Show a sentence instead of a report."""
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
            f"<p><b>What the figures are</b></p>{''.join(meanings)}"
        )


def summary(report: QualityReport) -> str:
    """The checks in one sentence."""
    doubts = [check.name.lower() for check in report.checks if check.mark in ("caution", "bad")]
    if not doubts:
        return "The checks found nothing wrong: see Quality."
    return f"Look at Quality: {', '.join(doubts)}."
