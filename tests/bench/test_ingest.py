"""Half a million people: reading, checking, staging and comparing, beside DuckDB doing nothing but the comparison."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import duckdb
import pytest

PEOPLE = 500_000
MEGABYTES = 300
TIMES_DUCKDB = 12.0

HEADERS = (
    "employee_id", "first_name", "last_name", "email", "job_title", "department_code", "manager_id", "hire_date",
    "status", "location", "fte", "country",
)  # fmt: skip

INGEST = textwrap.dedent(
    """
    import datetime as dt, json, re, sys, time
    from pathlib import Path
    from bridge.feed_settings import FeedSettings
    from bridge.store import Store
    from jobs.ingest import FeedContext, Incoming, ingest

    store = Store.open(sys.argv[1])
    units = frozenset(f"U{n:03d}" for n in range(220))
    said = []
    for name in sys.argv[2:]:
        start, computing = time.perf_counter(), time.process_time()
        result = ingest(store, FeedContext("hr", FeedSettings(), (), units), Incoming.of_path(Path(name)),
                        dt.date(2026, 12, 31))
        seconds, computing = time.perf_counter() - start, time.process_time() - computing
        said.append({"computing": computing,
                     "state": result.state, "rows": result.rows, "created": result.created, "missing": result.missing,
                     "updated": result.updated, "unchanged": result.unchanged, "seconds": seconds,
                     "megabytes": int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024})
    print(json.dumps(said))
    """
)
"""Run in a process of its own, whose memory is then nobody else's (ru_maxrss would count what its parent had)."""


def write_people(path: Path, *, changed: bool = False, shuffled: bool = False) -> None:
    """Write the synthetic company: the same each time, with 2 % moved and 1 % gone where `changed`."""
    chance = random.Random(1)
    rows = []
    for number in range(1, PEOPLE + 1):
        row = [
            f"E{number:07d}",
            chance.choice(("Mateo", "Zoë", "Noor", "Ana", "Søren")),
            f"{chance.choice(('Novák', 'Müller', 'Patel', 'García'))}{number % 977}",
            f"p{number}@northwind.example",
            f"Title {chance.randrange(3000)} Specialist",
            f"U{chance.randrange(220):03d}",
            f"E{chance.randrange(1, max(2, number // 8 + 1)):07d}" if number > 1 else "",
            f"{chance.randrange(1990, 2026)}-{chance.randrange(1, 13):02d}-{chance.randrange(1, 29):02d}",
            "active",
            chance.choice(("South", "North")),
            chance.choice(("1.0", "0.8")),
            chance.choice(("SE", "GB")),
        ]
        if changed and number % 50 == 0:
            row[5] = "U001"
        if not (changed and number % 97 == 0):
            rows.append(row)
    if shuffled:
        chance.shuffle(rows)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(HEADERS)
        writer.writerows(rows)


def compare_with_duckdb(before: Path, after: Path) -> tuple[float, tuple[int, int, int]]:
    """Compare two files by the person's number; return seconds, and how many are new, gone and changed."""
    question = f"""
        WITH a AS (SELECT * FROM read_csv('{before}', all_varchar = true)),
             b AS (SELECT * FROM read_csv('{after}', all_varchar = true))
        SELECT count(*) FILTER (WHERE a.employee_id IS NULL), count(*) FILTER (WHERE b.employee_id IS NULL),
               count(*) FILTER (WHERE a.employee_id IS NOT NULL AND b.employee_id IS NOT NULL AND a IS DISTINCT FROM b)
        FROM a FULL JOIN b ON a.employee_id = b.employee_id
    """  # noqa: S608  paths of our own making
    start = time.perf_counter()
    with duckdb.connect() as connection:
        row = connection.execute(question).fetchone()
    assert row is not None
    return time.perf_counter() - start, (row[0], row[1], row[2])


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """The files of three nights: everybody, the same reordered, and the next night's."""
    folder = tmp_path_factory.mktemp("files")
    first, reordered, next_night = (folder / name for name in ("first.csv", "reordered.csv", "next.csv"))
    write_people(first)
    write_people(reordered, shuffled=True)
    write_people(next_night, changed=True)
    return first, reordered, next_night


@pytest.mark.bench
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_half_a_million_people_in_bounded_memory_and_time(
    nights: tuple[Path, Path, Path], database: str, request: pytest.FixtureRequest
) -> None:
    """A first load, the same rows reordered, and the next night's file; each beside DuckDB's comparison alone."""
    url = request.getfixturevalue("sqlite_url" if database == "sqlite" else "postgres_url")
    first, _, next_night = nights
    alone = [compare_with_duckdb(first, next_night) for _ in range(2)]
    process = subprocess.run(
        [sys.executable, "-c", INGEST, url, *map(str, nights)], capture_output=True, text=True, check=True
    )
    loads = dict(zip(("first load", "reordered", "next night"), json.loads(process.stdout), strict=True))
    alone += [compare_with_duckdb(first, next_night) for _ in range(2)]
    seconds = sorted(one[0] for one in alone)[len(alone) // 2]
    for name, load in loads.items():
        print(
            f"{database}, {name}: {load['rows']:,} rows, {load['seconds']:.1f} s, of them {load['computing']:.1f} s "
            f"computing here = {load['seconds'] / seconds:.1f} x DuckDB's comparison alone ({seconds:.2f} s), "
            f"peak so far {load['megabytes']:.0f} MB"
        )
    new, gone, changed = alone[0][1]
    night = loads["next night"]
    assert (night["created"], night["missing"], night["updated"]) == (new, gone, changed)
    assert loads["reordered"]["unchanged"] == PEOPLE
    assert max(load["megabytes"] for load in loads.values()) < MEGABYTES
    # With SQLite all the work is done by one process, whose own time is what it costs; on a busy machine the time that
    # goes by tells of the neighbours instead. PostgreSQL works in processes of its own.
    measure = "computing" if database == "sqlite" else "seconds"
    ratio = loads["reordered"][measure] / loads["first load"][measure]
    print(f"{database}, reordered: {ratio:.2f} of a first load")
    assert ratio <= 0.5
    assert night["seconds"] <= TIMES_DUCKDB * seconds
