"""The words of README, site and changelog: one per thing, in sentences of at most 25 words."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SITE = [page for page in sorted((ROOT / "docs").glob("*.md")) if page.name != "equivariance.md"]
"""Without the page of theorems and proofs, which has its own measure."""

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *SITE]
LONGEST = 25

NOT = (
    r"pictures?",
    r"shipped (?:network|weights)",
    r"warm start",
    r"adapt(?:s|ed|ing|ations?)?",
    r"mirror(?:s|ed|ing)?",
    r"turn(?:s|ed|ing)?",
    r"tak(?:es?|en) away",
    r"what (?:is|was) removed",
    r"dealt",
    r"witness|guard",
    r"go(?:es)? on|goes? back",
    r"held-out",
    r"(?<!standard )deviations?",
    r"strength",
)
"""What the field has another word for."""


def prose(page: Path) -> str:
    """What a person wrote, without code, names of the dock and what scripts wrote."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r"<!-- (\S+) begins: .*?<!-- \1 ends -->", "", text, flags=re.S)
    text = re.sub(r"```.*?```", "", text, flags=re.S)
    text = re.sub(r"`[^`]*`", "CODE", text)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"(?<![*\w])\*(?!\*)[^*\n]+\*(?![*\w])", "NAME", text)


def sentences(text: str) -> Iterator[str]:
    """Sentences outside tables and headings."""
    text = re.sub(r"(?m)^(?:\||#).*$", "\n", text)
    text = re.sub(r"(?m)^ *(?:[-*]|\d+\.) ", "\n\n", text)
    for paragraph in re.split(r"\n\s*\n", text):
        yield from re.split(r"(?<=[.:?!;])\**\s+", " ".join(paragraph.split()))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_words_are_those_of_the_field(page: Path) -> None:
    found = re.findall(rf".{{0,30}}\b(?:{'|'.join(NOT)})\b.{{0,20}}", prose(page), re.I)
    assert not found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_sentences_are_short(page: Path) -> None:
    long = [one for one in sentences(prose(page)) if len(re.findall(r"\S*\w\S*", one)) > LONGEST]
    assert not long


def test_long_sentences_and_other_words_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("One. " + "word " * LONGEST + "more.\n\nThe picture, turned:\n`picture`\n")
    assert [len(one.split()) for one in sentences(prose(page))][:2] == [1, LONGEST + 1]
    assert re.findall("|".join(NOT), prose(page)) == ["picture", "turned"]
