"""One timed run over 3,000 titles in a process of its own: `plain word`, `plain char_wb`, `core` or `meaning`."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import sklearn.cluster
import sklearn.decomposition
from sklearn.feature_extraction.text import TfidfVectorizer

from mappings.titles.catalogue import Catalogue, Position
from mappings.titles.gazetteer import shipped_gazetteer
from mappings.titles.legacy import LegacyGroup
from mappings.titles.score import Stopwatch
from mappings.titles.suggest import Suggester
from tests.bench.titles.data import read

SOURCES = ("cluster_nyc.csv", "lca_soc.csv", "cluster_sf.csv", "onet_match.csv")
LOADED = (sklearn.cluster, sklearn.decomposition)
"""Loading the library is nobody's work and timed for nobody."""


def plain(titles: list[str], catalogue: Catalogue, analyzer: str) -> None:
    """One TF-IDF top-5 search over catalogue and gazetteer."""
    known = [p.title for p in catalogue.positions] + [entry.title for entry in shipped_gazetteer()]
    sizes = (1, 1) if analyzer == "word" else (2, 4)
    vectorizer = TfidfVectorizer(analyzer=analyzer, ngram_range=sizes)
    matrix = vectorizer.fit_transform(known).T.tocsr()
    for begin in range(0, len(titles), 256):
        alike = (vectorizer.transform(titles[begin : begin + 256]) @ matrix).toarray()
        np.argpartition(-alike, 5, axis=1)[:, :5]


def main() -> None:
    """Runs the mode named on the command line and prints seconds, seconds of computing and peak memory as JSON."""
    titles = list(dict.fromkeys(row["title"] for name in SOURCES for row in read(name)))[:3000]
    rows = read("uw_standard_titles.csv")
    positions = {r["new_code"]: Position(r["new_code"], r["new_title"], r["new_family"]) for r in rows}
    catalogue = Catalogue(tuple(positions.values()))
    start, computing = time.perf_counter(), time.process_time()
    if sys.argv[1] == "plain":
        plain(titles, catalogue, sys.argv[2])
    else:
        groups = [LegacyGroup(title) for title in titles]
        suggester = Suggester(groups, catalogue, shipped_gazetteer(), semantic=sys.argv[1] == "meaning")
        suggester.suggest(offer=100)
    seconds, computed = time.perf_counter() - start, time.process_time() - computing
    print(
        json.dumps(
            {"seconds": seconds, "computing": computed, "peak_mb": Stopwatch().peak_memory_mb, "titles": len(titles)}
        )
    )


main()
