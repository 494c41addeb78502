"""The tab *Quality*: the quality checks of the result."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_redenoise._napari._words import WrappedLabel, listed
from napari_redenoise.assessment import Mark, QualityReport

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
BY_WEIGHT: tuple[Mark, ...] = ("unknown", "good", "caution", "bad")
"""Marks, the worst last."""


class Row(NamedTuple):
    """Name of a denoised layer and its report: None where it could not, or is not yet, checked."""

    name: str
    report: QualityReport | None
    is_checked: bool = True


class QualityPanel(QWidget):
    """A line per check: mark, number and advice; below, the meaning of the numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.title, self.rows, self.words = (WrappedLabel(rich=True) for _ in range(3))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for label in (self.rows, self.title, self.words):
            layout.addWidget(label)
        layout.addStretch()
        self.report: QualityReport | None = None
        self.show_title("")
        self.say(NO_RESULT)

    def say(self, sentence: str) -> None:
        """Show a message instead of a report."""
        self.report = None
        self.words.setText(escape(sentence, quote=False))

    def show_title(self, title: str, rows: Sequence[Row] = ()) -> None:
        """Name the result, and list all results of its run where there are several."""
        self.title.setText(f"<b>{escape(title)}</b>")
        self.title.setVisible(bool(title))
        several = rows if len(rows) > 1 else ()
        self.rows.setText("".join(f"<p>{_row(row)}</p>" for row in several))
        self.rows.setVisible(bool(several))

    def show_report(self, report: QualityReport) -> None:
        """Show all checks."""
        self.report = report
        found = []
        for check in report.checks:
            text = f"{_coloured(check.mark)} <b>{check.name}</b>: {check.figure}."
            found.append(f"<p>{text} {check.advice}</p>" if check.advice else f"<p>{text}</p>")
        meanings = [f"<p><b>{check.name}</b>: {check.meaning}</p>" for check in report.checks]
        legend = ", ".join(f"{MARKS[mark]} {said}" for mark, said in MARKS_IN_WORDS.items())
        self.words.setText(
            f"{''.join(found)}<p>{legend}.</p><p>{NO_PROMISE}</p>"
            f"<p><b>Meaning of the numbers</b></p>{''.join(meanings)}"
        )


def _coloured(mark: Mark) -> str:
    return f"<span style='color: {COLOURS[mark]}'>{MARKS[mark]}</span>"


def _row(row: Row) -> str:
    """The denoised layer, the worst mark of its checks, and their names."""
    name, report, is_checked = row
    if report is None:
        said = MARKS_IN_WORDS["unknown"] if is_checked else "not checked yet"
        return f"{MARKS['unknown']} {escape(name)}: {said}"
    mark = _mark(report)
    return f"{_coloured(mark)} {escape(name)}: {_listed_doubts(report) or MARKS_IN_WORDS[mark]}"


def _mark(report: QualityReport) -> Mark:
    """The worst mark of the checks that could be made."""
    marks = [check.mark for check in report.checks if check.mark != "unknown"]
    return max(marks, key=BY_WEIGHT.index, default="unknown")


def _listed_doubts(report: QualityReport) -> str:
    doubts = [check.name.lower() for check in report.checks if check.mark in ("caution", "bad")]
    return ", ".join(doubts)


def summary_of_all(rows: Sequence[Row]) -> str:
    """The outcome of the checks of all results of a run in one sentence, which names the worst."""
    checked = [(row.name, row.report) for row in rows if row.report is not None]
    failed = [f"'{row.name}'" for row in rows if row.report is None]
    unknown = f" {listed(failed)} could not be checked." if failed else ""
    if len(rows) == 1 and checked:
        return summary(checked[0][1])
    doubtful = [(name, report) for name, report in checked if _listed_doubts(report)]
    if not doubtful:
        return f"{len(checked)} of {len(rows)} results were checked: see the tab Quality.{unknown}"
    name, worst = max(doubtful, key=lambda row: _weight(row[1]))
    return (
        f"Look at the tab Quality: {len(doubtful)} of {len(rows)} results may be damaged, above "
        f"all '{name}' ({_listed_doubts(worst)}).{unknown}"
    )


def _weight(report: QualityReport) -> tuple[int, int]:
    """How bad a report is: its worst mark, then how many checks have it."""
    marks = [BY_WEIGHT.index(check.mark) for check in report.checks]
    return max(marks), marks.count(max(marks))


def summary(report: QualityReport) -> str:
    """The outcome of the checks in one sentence."""
    doubts = _listed_doubts(report)
    if doubts:
        return f"Look at the tab Quality: {doubts}."
    made = [check for check in report.checks if check.mark != "unknown"]
    if len(made) == len(report.checks):
        return "The checks found nothing wrong: see the tab Quality."
    found = f"; {'it' if len(made) == 1 else 'they'} found nothing wrong" if made else ""
    return f"{len(made)} of {len(report.checks)} checks could be made{found}: see the tab Quality."
