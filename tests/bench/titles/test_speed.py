"""Prints how long 3,000 titles take against a large catalogue and gazetteer, beside one plain TF-IDF
search.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.bench.titles.data import FOLDER, needs_data

pytestmark = [pytest.mark.bench, needs_data]


def run(*arguments: str) -> dict[str, float]:
    """One run in a process of its own, so that its peak memory is its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.titles.speed_run", *arguments], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_three_thousand_titles() -> None:
    """Under twenty times one TF-IDF search of the same titles, under one gigabyte."""
    assert FOLDER
    plain_words, plain_pieces = run("plain", "word"), run("plain", "char_wb")
    core, meaning = run("core"), run("meaning")
    runs = {"TF-IDF, words": plain_words, "TF-IDF, pieces": plain_pieces, "core": core, "with meaning": meaning}
    for name, found in runs.items():
        times = [found["computing"] / plain["computing"] for plain in (plain_words, plain_pieces)]
        print(f"\n  {name}: {found['seconds']:.1f} s ({found['computing']:.1f} s of computing),", end=" ")
        print(f"{found['peak_mb']:.0f} MB,", end=" ")
        print(f"{times[0]:.1f} x words, {times[1]:.1f} x pieces")
    # Computing, since other work on the machine does not slow both alike.
    assert meaning["computing"] < 20 * plain_words["computing"]
    assert meaning["peak_mb"] < 1024
