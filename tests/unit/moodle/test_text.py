"""Names and descriptions reach the form Moodle keeps, and stay in it."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.moodle.text import description_form, fold, name_form, unwrapped

RECORD = Path(__file__).parents[2] / "contract" / "data" / "moodle-4.5-exchanges.jsonl.gz"
TAGS = [
    "<p>",
    "</p>",
    "<ul>",
    "<li>",
    "</li>",
    "</ul>",
    "<strong>",
    "</strong>",
    "<br>",
    "</a>",
    "<h2>",
    "</h2>",
    "<em>",
    "<table><tr><td>",
    "</table>",
]
ODD = ["a", "&", "<", "> ", "\n", "\n\n", "- x", "&nbsp;", " ", "\x0b", "\t", "<script>x</script>", "é", "😀", "\u200f"]
PIECES = st.lists(st.sampled_from([*TAGS, *ODD, "<a href='https://x.example/a'>", "\u00a0"]), max_size=14).map("".join)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("R&D", "<p>R&amp;D</p>"),
        ("a\nb\n\nc", "<p>a<br />b</p><p>c</p>"),
        ("- x\n- y", "<ul><li>x</li><li>y</li></ul>"),
        ("1. x\n2. y", "<ol><li>x</li><li>y</li></ol>"),
        ("a < b > c", "<p>a &lt; b &gt; c</p>"),
        ('it\'s "so"', '<p>it\'s "so"</p>'),
        ("<p>x</p>\n", "<p>x</p>"),
        ("<p>a&nbsp;b</p>", "<p>a\u00a0b</p>"),
        ("<p style='color:red' onclick='x()'>x<br></p>", "<p>x</p>"),
        ("<p>a<ul><li>b<li>c</ul>d", "<p>a</p><ul><li>b</li><li>c</li></ul><p>d</p>"),
        (
            '<a href="https://x.example/?a=1&b=2" target="_blank">l</a>',
            '<p><a href="https://x.example/?a=1&amp;b=2">l</a></p>',
        ),
        ("<a href='javascript:x()'>l</a>", "<p>l</p>"),
        ("<script>alert(1)</script>", ""),
        ("مرحبا 😀 漢字", "<p>مرحبا 😀 漢字</p>"),
        ("a\u0000\u0007b\u0085c\ufffe", "<p>abc</p>"),
        ("  ", ""),
    ],
)
def test_a_description_becomes_the_html_that_moodle_keeps(text: str, kept: str) -> None:
    """Plain text turns into paragraphs and lists, HTML into its purified form."""
    assert description_form(text).text == kept


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("R&D", "R&D"),
        ("a < b", "a < b"),
        ("<3", "< 3"),
        ("a <b", "a < b"),
        ("100% <", "100% ‹"),
        ("<b>x</b>", "< b>x< /b>"),
        ('<span lang="en" class="multilang">H</span>', '<span lang="en" class="multilang">H</span>'),
        ("  two\nlines ", "two lines"),
        ("a\u00a0b", "a\u00a0b"),
        ("a\u0001b", "ab"),
    ],
)
def test_a_name_loses_nothing_but_what_moodle_takes_for_a_tag(name: str, kept: str) -> None:
    """Characters that Moodle refuses are made harmless; everything else stays."""
    assert name_form(name).text == kept


def test_an_over_long_name_is_cut_at_a_word_and_kept_whole_beside() -> None:
    """A hundred characters at most, an ellipsis at the end, the full name for the description."""
    name = "Read work orders or other instructions to determine product specifications or materials requirements today"
    form = name_form(name)
    assert len(form.text) <= 100
    assert form.text.endswith(" materials…")
    assert form.full == name
    assert name_form("x" * 100).full == ""
    assert len(name_form("😀" * 150).text) == 100


@settings(max_examples=600, deadline=None)
@given(PIECES | st.text(max_size=40))
def test_both_forms_are_their_own_forms(text: str) -> None:
    """What is in form already is left alone, so that reading back and writing again changes nothing."""
    description = description_form(text).text
    assert description_form(description).text == description
    assert description == description.strip()
    name = name_form(text).text
    assert name_form(name).text == name
    assert len(name) <= 100


def as_the_editor_writes(text: str) -> str:
    """Return HTML as Moodle's editor (TinyMCE) saves it: each block on a line of its own."""
    lines = re.sub(r"(</?(?:ul|ol)>|</(?:p|li|h[1-6])>)", r"\1\n", text)
    return re.sub(r"(?<!\n)(<[uo]l>|</[uo]l>)", r"\n\1", lines).replace("\n", "\r\n")


@settings(max_examples=300, deadline=None)
@given(PIECES | st.text(max_size=40))
def test_what_the_editor_adds_between_blocks_is_nobodys_edit(text: str) -> None:
    """Saved in a browser and read back, a description is what the bridge wrote; and its own form is left alone."""
    description = description_form(text).text
    assert unwrapped(description) == description
    assert unwrapped(as_the_editor_writes(description)) == description


def test_line_breaks_within_a_text_are_no_work_of_the_editor() -> None:
    """Only those beside paragraphs, headings and lists go."""
    assert unwrapped("<p>one\ntwo <em>three</em>\nfour</p>\n<p>five</p>\n") == (
        "<p>one\ntwo <em>three</em>\nfour</p><p>five</p>"
    )


def test_no_recorded_refusal_would_be_sent_again() -> None:
    """No description or name that Moodle refused in the record is left as it was."""
    refused = accepted = 0
    for line in gzip.decompress(RECORD.read_bytes()).decode().splitlines():
        row = json.loads(line)
        if row["case"] not in ("description matrix", "shortname matrix"):
            continue
        matrix = row["case"].partition(" ")[0]
        sent = row["form"][f"competency[{matrix}]"]
        kept = (description_form if matrix == "description" else name_form)(sent).text
        if '"exception"' in row["body"]:
            refused += 1
            assert kept != sent, sent
        elif matrix == "shortname":
            accepted += 1
            assert kept in (sent, sent.strip(), sent.replace("\t", " ")) or "\x01" in sent or "<lang" in sent, sent
    assert (refused, accepted) > (20, 10)


@pytest.mark.parametrize(("one", "other"), [("R.1", "r.1"), ("R.1", "Ŕ.1"), ("R.1", "R.1 "), ("straße", "STRASSE")])
def test_numbers_fold_as_moodles_database_compares_them(one: str, other: str) -> None:
    """Case, accents and trailing spaces make no difference there."""
    assert fold(one) == fold(other)
    assert fold("R.1") != fold("R.2")
