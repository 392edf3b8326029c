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

_RUN = """
import json, sys, time
import numpy as np
sys.path.insert(0, ".")
from tests.bench.titles.data import read
from mappings.titles.catalogue import Catalogue, Position
from mappings.titles.gazetteer import shipped_gazetteer
from mappings.titles.legacy import LegacyGroup
from mappings.titles.score import Stopwatch
from mappings.titles.suggest import Suggester
import sklearn.feature_extraction.text, sklearn.metrics, sklearn.cluster

titles = []
for name, column in (("cluster_nyc.csv", "title"), ("lca_soc.csv", "title"), ("cluster_sf.csv", "title"),
    ("onet_match.csv", "title")): titles.extend(row[column] for row in read(name))
titles = list(dict.fromkeys(titles))[:3000]
catalogue = Catalogue(tuple({r["new_code"]: Position(r["new_code"], r["new_title"], r["new_family"]) for r in
read("uw_standard_titles.csv")}.values())) groups = [LegacyGroup(title) for title in titles]
mode = sys.argv[1]
if mode == "plain":
    start = time.perf_counter()
    known = [p.title for p in catalogue.positions] + [e.title for e in shipped_gazetteer()]
    vectorizer = sklearn.feature_extraction.text.TfidfVectorizer(analyzer=sys.argv[2], ngram_range=(2, 4) if
    sys.argv[2] != "word" else (1, 1)) matrix = vectorizer.fit_transform(known)
    for begin in range(0, len(titles), 256):
        alike = (vectorizer.transform(titles[begin:begin + 256]) @ matrix.T).toarray()
        top = np.argpartition(-alike, 5, axis=1)[:, :5]
    seconds = time.perf_counter() - start
else:
    start = time.perf_counter()
    gazetteer = shipped_gazetteer()
    suggester = Suggester(groups, catalogue, gazetteer, semantic=mode == "meaning")
    suggester.suggest(offer=100)
    seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "peak_mb": Stopwatch().peak_memory_mb, "titles": len(titles)}))
"""


def run(*arguments: str) -> dict[str, float]:
    """One run in a process of its own, so that its peak memory is its own."""
    done = subprocess.run([sys.executable, "-c", _RUN, *arguments], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_three_thousand_titles() -> None:
    """Under twenty times one TF-IDF search of the same titles, under one gigabyte."""
    assert FOLDER
    plain_words, plain_pieces = run("plain", "word"), run("plain", "char_wb")
    core, meaning = run("core"), run("meaning")
    runs = {"TF-IDF, words": plain_words, "TF-IDF, pieces": plain_pieces, "core": core, "with meaning": meaning}
    for name, found in runs.items():
        times = [found["seconds"] / plain["seconds"] for plain in (plain_words, plain_pieces)]
        print(f"\n  {name}: {found['seconds']:.1f} s, {found['peak_mb']:.0f} MB,", end=" ")
        print(f"{times[0]:.1f} x words, {times[1]:.1f} x pieces")
    assert meaning["seconds"] < 20 * plain_words["seconds"]
    assert meaning["peak_mb"] < 1024
