"""Parents, in any shape: whatever is kept is a forest, whatever is not was reported."""

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.rows import Row, Source
from mappings.architecture.cells import Findings
from mappings.architecture.trees import Branch, sound_branches

NODES = "abcdefgh"


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(NODES), st.none() | st.sampled_from(NODES + "z"), max_size=8))
def test_sound_branches_all_lead_to_a_root_and_the_others_are_reported(parents: dict[str, str | None]) -> None:
    """One fault for each circle and each unknown parent, no more and no less."""
    findings = Findings()
    branches = {
        key: Branch(key, parent, Row(Source("f"), line, {"parent": parent or ""}))
        for line, (key, parent) in enumerate(parents.items(), 2)
    }
    sound = sound_branches(branches, "node", findings)

    def way_up(key: str) -> list[str]:
        way = [key]
        while (parent := parents[way[-1]]) is not None and parent in parents and parent not in way:
            way.append(parent)
        return way

    def leads_to_root(key: str) -> bool:
        return parents[way_up(key)[-1]] is None

    circles = {frozenset(way[way.index(parents[way[-1]]) :]) for way in map(way_up, parents) if parents[way[-1]] in way}
    orphans = [key for key, parent in parents.items() if parent is not None and parent not in parents]
    assert set(sound) == {key for key in parents if leads_to_root(key)}
    assert len(findings.faults) == len(circles) + len(orphans)
