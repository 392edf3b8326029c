"""How long HR Import files for 100,000 people and jobs take to write and check, beside the csv module alone."""

from __future__ import annotations

import csv
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from connectors.hrimport_rules import HrImportSettings
from connectors.totara.hrimport import preflight_directory
from connectors.totara.hrimport.files import write_file

PEOPLE = 100_000
PERSON = ("username", "firstname", "lastname", "email", "suspended", "city", "country")
JOB = ("fullname", "startdate", "orgidnumber", "posidnumber", "manageridnumber", "managerjaidnumber")


def _people(stamp: int) -> Iterator[dict[str, object]]:
    for number in range(PEOPLE):
        yield {
            "idnumber": f"E{number:06}",
            "timemodified": stamp + (number % 10 == 0),
            "username": f"user{number:06}",
            "firstname": f"First{number}",
            "lastname": f"Läst {number}",
            "email": f"user{number:06}@example.com",
            "suspended": 0,
            "city": "Paris",
            "country": "FR",
        }


def _jobs(stamp: int) -> Iterator[dict[str, object]]:
    for number in range(PEOPLE):
        above = number // 8
        yield {
            "idnumber": f"JA-{number:06}",
            "useridnumber": f"E{number:06}",
            "timemodified": stamp + (number % 10 == 0),
            "fullname": f"Job of {number}",
            "startdate": "01/01/2020",
            "manageridnumber": f"E{above:06}" if number else "",
            "managerjaidnumber": f"JA-{above:06}" if number else "",
        }


def _write(folder: Path, stamp: int) -> float:
    folder.mkdir()
    start = time.process_time()
    settings = HrImportSettings()
    write_file("user", folder / "user.csv", _people(stamp), settings, PERSON)
    write_file("jobassignment", folder / "jobassignment.csv", _jobs(stamp), settings, JOB)
    return time.process_time() - start


def _csv_alone(folder: Path) -> float:
    start = time.process_time()
    for name, rows in (("a.csv", _people(5)), ("b.csv", _jobs(5))):
        with (folder / name).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerows(row.values() for row in rows)
    return time.process_time() - start


@pytest.mark.bench
def test_files_and_preflight_stay_within_memory_and_near_the_csv_module(tmp_path: Path) -> None:
    """Writing is compared with the csv module on the same rows; checking is told beside it; memory is bounded."""
    alone = _csv_alone(tmp_path)
    _write(tmp_path / "held", 1_700_000_000)
    writing = _write(tmp_path / "new", 1_700_000_100)
    script = (
        "import resource, sys, time; from pathlib import Path; "
        "from connectors.totara.hrimport import preflight_directory as check; start = time.process_time(); "
        "report = check(Path(sys.argv[1]), Path(sys.argv[2])); "
        "print(time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "new"), str(tmp_path / "held")],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    checking, peak = float(told[0]), int(told[1])
    print(f"\ncsv module alone {alone:.2f} s; files {writing:.2f} s ({writing / alone:.1f}x)")
    print(f"preflight against what is held {checking:.2f} s ({checking / alone:.1f}x); peak {peak} MB")
    print(f"files and preflight together {(writing + checking) / alone:.1f}x (aim: 8x each)")
    assert peak < 300
    assert writing / alone < 8
    assert checking / alone < 12


@pytest.mark.bench
def test_writing_does_not_grow_with_the_rows(tmp_path: Path) -> None:
    """Only the keys already seen are kept: 100,000 rows cost well under 100 MB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _write(tmp_path / "files", 5)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    print(f"\nwriting 100,000 people and jobs grew memory by {grown} MB")
    assert grown < 100
    assert preflight_directory(tmp_path / "files").elements["user"].counts() == {"create": PEOPLE}
