"""Names of layers that look like HTML are shown letter by letter."""

import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QWidget

from napari_redenoise._napari._words import WrappedLabel, as_tooltip
from napari_redenoise._napari.denoise._closing import ClosingQuestion

HEADING = "<h1>big</h1>"


def drawn_as_tags(part):
    """Texts with the name that Qt draws as a heading."""
    labels = [
        label.text()
        for label in part.findChildren(QLabel)
        if HEADING in label.text()
        and label.textFormat() != Qt.TextFormat.PlainText
        and (label.textFormat() == Qt.TextFormat.RichText or Qt.mightBeRichText(label.text()))
    ]
    tips = [one.toolTip() for one in part.findChildren(QWidget)]
    return labels + [tip for tip in tips if "h1>" in tip and Qt.mightBeRichText(tip)]


def test_a_name_like_a_heading_is_no_heading(dock, noisy):
    widget = dock.widget
    dock.viewer.add_image(noisy, name=HEADING)
    dock.run()
    dock.wait(lambda: dock.widget.finished_run.is_checked)
    assert HEADING in widget.status.text()
    assert widget.result.title.text() == f"Result of '{HEADING}':"
    assert HEADING in widget.training.title.text()
    widget.batch.layers_button.click()
    assert drawn_as_tags(widget) == []
    # The tab Quality has rich text: there the name is escaped.
    assert "&lt;h1&gt;big" in widget.quality.title.text()
    table = widget.batch.table
    assert not Qt.mightBeRichText(table.item(0, 0).toolTip())


def test_the_closing_question_shows_a_name_as_it_is(dock):
    question = ClosingQuestion(dock.widget, HEADING, print, left_out=1, model=f"/{HEADING}.tif")
    question.show()
    assert HEADING in question.text()
    assert drawn_as_tags(question) == []
    question.dismiss()


@pytest.mark.parametrize("text", ["'<b>a</b>' is too small.", "&lt;b>"])
def test_a_tooltip_has_no_tags(text):
    assert Qt.mightBeRichText(text)
    assert not Qt.mightBeRichText(as_tooltip(text))
    assert as_tooltip(as_tooltip(text)) == as_tooltip(text)
    assert as_tooltip(text).replace("\u200b", "") == text


def test_a_long_name_like_a_tag_may_break():
    label = WrappedLabel("<" + "b" * 80 + ">")
    assert QLabel.text(label).count("\u200b") == 81
