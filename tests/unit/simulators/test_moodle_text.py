"""Which texts the simulated Moodle accepts, and how it shows them."""

import pytest

from connectors.simulators.moodle.params import build_arrays, decode_form
from connectors.simulators.moodle.tables import collate
from connectors.simulators.moodle.text import clean_multilang, format_string, format_text, is_clean_html, strip_tags


@pytest.mark.parametrize(
    "text",
    [
        "", "plain", "line1\nline2", "R&amp;D", "<p>x</p>", "<p>a</p>\r\n<p>b</p>", "<br />", "<b>x</b>", "<em>x</em>",
        "<ul><li>a</li></ul>", "<ol><li>a</li><li>b</li></ol>", '<p class="c">x</p>', '<a href="https://x.example">x</a>',
        '<span lang="en" class="multilang">x</span>', "<table><tr><td>x</td></tr></table>", "<h1>t</h1>", "a\u00a0b",
        '<img src="https://x.example/a.png" alt="a" />', "مرحبا", "😀",
    ],
)  # fmt: skip
def test_a_description_in_its_purified_form_is_accepted(text: str) -> None:
    """What purifying leaves as it is can be stored."""
    assert is_clean_html(text)


@pytest.mark.parametrize(
    "text",
    [
        "R&D", "a < b", "1 > 2", "<br>", "<br/>", "<p>x", "<p>x</p>\n", " lead", "<P>x</P>", "&nbsp;", "&eacute;",
        '<p style="color:red">x</p>', '<a href="https://x.example" target="_blank">x</a>', "<script>x</script>",
        "<ul><li>a<li>b</ul>", "<li>a</li>", "<b><p>x</p></b>", "<!-- c --><p>x</p>", '<a href="javascript:x()">x</a>',
        '<p id="x">x</p>', '<p lang="de">x</p>', "<font>x</font>", "<ul>x</ul>", "<p>R&D</p>",
    ],
)  # fmt: skip
def test_a_description_that_purifying_would_change_is_refused(text: str) -> None:
    """Moodle does not repair a description, it refuses it."""
    assert not is_clean_html(text)


@pytest.mark.parametrize(
    ("text", "left"), [("a < b", "a < b"), ("a <b", "a "), ("<3", ""), ("100% <", "100% "), ("a>b", "a>b")]
)
def test_tags_are_stripped_as_php_does(text: str, left: str) -> None:
    """A less-than sign opens a tag unless a space follows it."""
    assert strip_tags(text) == left


def test_only_well_formed_language_marks_survive_in_names() -> None:
    """A span that marks a language stays; any other takes every tag with it."""
    marked = '<span lang="en" class="multilang">H</span>'
    assert clean_multilang(marked) == marked
    assert clean_multilang('<span class="x">H</span>') == "H"


def test_names_and_descriptions_are_shown_escaped() -> None:
    """Display turns text into HTML by its format."""
    assert format_string("R&D <") == "R&amp;D "
    assert format_string("a > b") == "a &gt; b"
    assert format_text("a\nb", 2) == "a<br />\nb"
    assert format_text("# H\n\n* a\n* b", 4) == "<h1>H</h1>\n\n<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n"


@pytest.mark.parametrize(("one", "other"), [("R.1", "r.1"), ("R.1", "Ŕ.1"), ("R.1", "R.1 "), ("x😀", "x😁")])
def test_the_database_takes_such_texts_for_equal(one: str, other: str) -> None:
    """Case, accents, trailing spaces and which emoji it is do not count."""
    assert collate(one) == collate(other)


def test_forms_become_arrays_as_in_php() -> None:
    """Gaps in indexes stay, empty brackets count on, and a limit drops the rest."""
    pairs = decode_form(b"a[5][b]=1&a[5][c]=2&d[]=x&d[]=y&e=%C3%A9+z", 1000)
    assert build_arrays(pairs) == {"a": {"5": {"b": "1", "c": "2"}}, "d": {"0": "x", "1": "y"}, "e": "é z"}
    assert decode_form(b"a=1&b=2&c=3", 2) == [("a", "1"), ("b", "2")]
