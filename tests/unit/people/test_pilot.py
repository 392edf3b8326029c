"""Which part of a company is pushed: lists, what is below a unit, and lists within lists."""

from __future__ import annotations

import pytest

from bridge.model import Architecture, Organisation, Position
from bridge.ports import FixConfiguration
from bridge.settings import PilotSettings
from jobs.pilot import Pilot, parse_scope
from mappings.positions import build_positions

COMPANY = Architecture(
    organisations=(
        Organisation("TOP", "All"),
        Organisation("CARE", "Care", "TOP"),
        Organisation("WARD", "Ward", "CARE"),
        Organisation("LAB", "Laboratory", "TOP"),
    ),
    positions=(Position("N1", "Nurse"), Position("L1", "Technician")),
)


def test_a_unit_stands_for_those_below_it_too() -> None:
    """Not for those beside or above it."""
    pilot = Pilot.of([PilotSettings(units=("CARE",))], COMPANY)
    assert pilot.covers("E1", {"WARD"}, {None})
    assert pilot.covers("E1", {"CARE"}, {None})
    assert not pilot.covers("E1", {"LAB", "TOP"}, {"N1"})


def test_somebody_is_inside_by_unit_or_position_or_name() -> None:
    """Any of the three suffices, and any one of several jobs."""
    pilot = Pilot.of([PilotSettings(units=("LAB",), positions=("N1",), people=("E9",))], COMPANY)
    assert pilot.covers("E9", set(), set())
    assert pilot.covers("E1", {"TOP", "LAB"}, {None})
    assert pilot.covers("E1", {"TOP"}, {"N1", "L1"})
    assert not pilot.covers("E1", {"TOP"}, {"L1"})


def test_a_second_list_only_narrows_the_first() -> None:
    """What a command names never reaches beyond the standing pilot; an empty list bounds nothing."""
    pilot = Pilot.of([PilotSettings(units=("CARE",)), PilotSettings(people=("E1", "E2"))], COMPANY)
    assert pilot.covers("E1", {"WARD"}, set())
    assert not pilot.covers("E1", {"LAB"}, set())
    assert not pilot.covers("E3", {"WARD"}, set())
    assert not Pilot.of([PilotSettings(), PilotSettings()], COMPANY)


@pytest.mark.parametrize(
    "listed", [PilotSettings(units=("WRAD",)), PilotSettings(positions=("N1", "N2"))], ids=["unit", "position"]
)
def test_a_unit_or_position_that_is_not_there_is_refused(listed: PilotSettings) -> None:
    """A misspelt one would quietly push nobody."""
    with pytest.raises(FixConfiguration, match="not in the files"):
        Pilot.of([listed], COMPANY)


def test_a_scope_is_written_as_what_and_key() -> None:
    """Keys may hold an equals sign; anything else is explained."""
    found = parse_scope(["unit=CARE", "person=E=1", "unit=CARE", "position=N1"])
    assert found == PilotSettings(units=("CARE",), positions=("N1",), people=("E=1",))
    for wrong in ("CARE", "unit=", "ward=7"):
        with pytest.raises(FixConfiguration, match="unit=KEY"):
            parse_scope([wrong])


def test_positions_from_feed_rows_are_called_what_most_of_their_people_are() -> None:
    """The grade is the level where all have one; rows without a code make none; a code without title names itself."""
    found = build_positions(
        [("N1", "Nurse", "3", 2), ("N1", "Staff nurse", "3", 5), ("", "Porter", "1", 9), ("X", "", "", 1),
         ("M1", "Manager", "4", 1), ("M1", "Manager", "5", 1)]
    )  # fmt: skip
    assert [(one.key, one.title, one.level) for one in found] == [
        ("M1", "Manager", None),
        ("N1", "Staff nurse", "3"),
        ("X", "X", None),
    ]
