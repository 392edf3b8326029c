"""Whatever a sender calls a file, it is kept inside the inbox or not at all."""

from __future__ import annotations

from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from connectors.feeds.names import LONGEST, judge_name, shown, with_tag

ANY_NAME = st.one_of(
    st.text(max_size=300),
    st.text(alphabet="./\\ ~-:con<>|\x00\n\u202eé\u0301", max_size=40),
    st.binary(max_size=60).map(lambda raw: raw.decode("utf-8", "surrogateescape")),
)


@given(ANY_NAME)
@example("." + "x" * 300)
@example("a" * 150 + "." + "b. " * 60)
@example("<.csv")
def test_every_name_is_refused_with_a_reason_or_kept_as_one_safe_component(name: str) -> None:
    """A local name is one component, short enough, and would itself pass unchanged."""
    verdict = judge_name(name)
    if verdict.refused:
        assert verdict.why.endswith("plain name.")
        return
    inbox = Path("/inbox")
    assert (inbox / verdict.local).parent == inbox
    assert (inbox / verdict.local).resolve().parent == inbox
    assert len(verdict.local.encode()) <= LONGEST
    assert judge_name(verdict.local).local == verdict.local
    assert (verdict.local == name) is (verdict.why == "")


@given(ANY_NAME)
def test_every_name_can_be_shown_on_a_terminal(name: str) -> None:
    """No control characters, nothing that turns the line, and never very long."""
    assert shown(name).isprintable()
    assert len(shown(name)) < 160
    shown(name).encode()


def test_a_tag_stands_before_the_ending() -> None:
    """So that the ending still says what kind of file it is."""
    assert with_tag("people.csv", "2f6b") == "people-2f6b.csv"
    assert with_tag("people.csv.pgp", "2f6b") == "people-2f6b.csv.pgp"
    assert with_tag("README", "2f6b") == "README-2f6b"
