"""What a title says about level, seniority, track and conditions, read from its words.

The words live in ``data/level_words.csv``, which a project may extend. A title is read as whole words, so
that "internal" is no intern; a numeral after a job is its level; "associate" and "assistant" lower the job
that follows them and do not replace it; and a manager of projects, products or accounts manages no people.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

SENIORITIES = (
    "intern", "junior", "associate", "professional", "senior", "lead", "manager", "director", "executive",
)  # fmt: skip
"""From the first step to the last."""

_BAND = {
    "intern": "Junior",
    "junior": "Junior",
    "associate": "Junior",
    "professional": "Professional",
    "senior": "Senior",
    "lead": "Lead",
    "manager": "Professional",
    "director": "Director",
    "executive": "Management",
}
_LONGEST = 4


@dataclass(frozen=True, slots=True)
class LevelReading:
    """Level words of a title, each in its own field."""

    level: int | None
    """The numeral in the title: Accountant II is 2. None where there is none."""
    seniority: str
    """One of SENIORITIES."""
    track: str
    """M for a manager of people, otherwise IC."""
    conditions: tuple[str, ...]
    """Contract, shift, working-time and place words, as they stand."""
    words: tuple[str, ...]
    """The seniority words found, as they stand."""
    consumed: frozenset[int]
    """Positions of the words that say nothing about the work itself."""

    @property
    def step(self) -> float:
        """Seniority on one scale from 0 (intern) to 8 (executive), a numeral counting where no word does."""
        if self.seniority == "professional" and self.level is not None:
            return {1: 2.0, 2: 3.0, 3: 4.0, 4: 4.7, 5: 5.0}.get(self.level, 5.0)
        return float(SENIORITIES.index(self.seniority))

    @property
    def band(self) -> str:
        """Seniority in six steps: Junior, Professional, Senior, Lead, Director, Management."""
        return _BAND[self.seniority]


@dataclass(frozen=True)
class _Words:
    seniority: dict[str, str]
    endings: tuple[tuple[str, str], ...]
    manager: frozenset[str]
    manager_endings: tuple[str, ...]
    of_things: frozenset[str]
    thing_endings: tuple[str, ...]
    not_manager: frozenset[str]
    conditions: dict[str, str]
    levels: dict[str, int]
    numerals: dict[str, int]
    telling: frozenset[str]
    """Words that stand in any of these lists."""
    telling_endings: tuple[str, ...]

    def silent(self, words: Sequence[str]) -> bool:
        """Whether none of WORDS can say anything about level or track: most of a large gazetteer does not."""
        return self.telling.isdisjoint(words) and not any(
            word.isdigit() or word.endswith(self.telling_endings) for word in words
        )


_SILENT = LevelReading(None, "professional", "IC", (), (), frozenset())


@lru_cache(maxsize=1)
def _words() -> _Words:
    text = (files("mappings.titles") / "data" / "level_words.csv").read_text("utf-8")
    rows = [(r["words"], r["kind"], r["value"]) for r in csv.DictReader(text.splitlines())]

    def of(kind: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for words, row_kind, value in rows:
            if row_kind == kind and not words.startswith("*"):
                found.setdefault(words, value)
        return found

    def endings(kind: str) -> list[tuple[str, str]]:
        return [(w[1:], value) for w, row_kind, value in rows if row_kind == kind and w.startswith("*")]

    kinds = ("seniority", "manager", "contract", "level", "numeral")
    telling = {word for kind in kinds for words in of(kind) for word in words.split()}
    return _Words(
        telling=frozenset(telling | {"level", "grade", "stufe", "niveau", "nivel"}),
        telling_endings=tuple(ending for kind in ("seniority", "manager") for ending, _ in endings(kind)),
        seniority=of("seniority"),
        endings=tuple(endings("seniority")),
        manager=frozenset(of("manager")),
        manager_endings=tuple(ending for ending, _ in endings("manager")),
        of_things=frozenset(of("of_things")),
        thing_endings=tuple(ending for ending, _ in endings("of_things")),
        not_manager=frozenset(of("not_manager")),
        conditions=of("contract"),
        levels={words: int(value) for words, value in of("level").items()},
        numerals={words: int(value) for words, value in of("numeral").items()},
    )


def read_level(words: Sequence[str]) -> LevelReading:
    """Reads WORDS, a title in lower case with its abbreviations spelled out."""
    known = _words()
    if known.silent(words):
        return _SILENT
    consumed: set[int] = set()
    conditions = _conditions(words, known, consumed)
    level = _level(words, known, consumed)
    whose = _whose_office(words)
    found = [item for item in _seniority_words(words, known, consumed) if item[0] < whose]
    seniority, lowering = _decide(words[:whose], found)
    track = _track(words[:whose], known, consumed, lowering)
    if seniority == "manager" and track == "IC":
        # A manager of things is a professional; a word beside it ("senior", "junior") may say more.
        others = [value for _, value, _ in found if value in ("intern", "junior", "associate", "senior")]
        seniority = others[0] if others else "professional"
    removable = {"intern", "junior", "associate", "senior"}
    for start, value, length in found:
        # In "Medical Assistant" and "Research Associate" the word is the job; in "Assistant Editor" it is not.
        names_the_job = value in ("junior", "associate") and not any(
            index not in consumed for index in range(start + length, len(words))
        )
        if (value in removable and not names_the_job) or (value == "lead" and words[start] == "lead"):
            consumed.update(range(start, start + length))
    return LevelReading(
        level=level,
        seniority=seniority,
        track=track,
        conditions=tuple(conditions),
        words=tuple(" ".join(words[start : start + length]) for start, _, length in found),
        consumed=frozenset(consumed),
    )


def _whose_office(words: Sequence[str]) -> int:
    """Where the title stops naming the job and starts naming the office it belongs to or the person it serves."""
    for index in range(1, len(words) - 1):
        if words[index] in ("office", "bureau") and words[index + 1] == "of":
            return index
        if words[index] == "to" and words[index + 1] == "the":
            return index + 1
    return len(words)


def _conditions(words: Sequence[str], known: _Words, consumed: set[int]) -> list[str]:
    found: list[str] = []
    index = 0
    while index < len(words):
        for length in range(min(_LONGEST, len(words) - index), 0, -1):
            phrase = " ".join(words[index : index + length])
            # The first word names the job in "Night Auditor" and "Contract Administrator": it stays.
            if phrase in known.conditions and (length > 1 or index > 0 or len(words) == 1):
                if length == 1 and index + 1 < len(words) and known.conditions[phrase] == "contract":
                    continue
                found.append(phrase)
                consumed.update(range(index, index + length))
                index += length
                break
        else:
            index += 1
    return found


def _level(words: Sequence[str], known: _Words, consumed: set[int]) -> int | None:
    for index in range(len(words) - 1):
        phrase = f"{words[index]} {words[index + 1]}"
        if phrase in known.levels:
            consumed.update((index, index + 1))
            return known.levels[phrase]
        if words[index] in ("level", "grade", "stufe", "niveau", "nivel") and words[index + 1].isdigit():
            consumed.update((index, index + 1))
            return min(int(words[index + 1]), 99)
    for index in range(len(words) - 1, 0, -1):
        word = words[index]
        if index in consumed:
            continue
        if word in known.numerals and (len(word) > 1 or index == len(words) - 1 or word == "i"):
            consumed.add(index)
            return known.numerals[word]
        if word.isdigit() and len(word) == 1 and (index == len(words) - 1 or words[index - 1].isalpha()):
            consumed.add(index)
            return int(word)
    return None


def _seniority_words(words: Sequence[str], known: _Words, consumed: set[int]) -> list[tuple[int, str, int]]:
    found: list[tuple[int, str, int]] = []
    index = 0
    while index < len(words):
        if index in consumed:
            index += 1
            continue
        for length in range(min(_LONGEST, len(words) - index), 0, -1):
            phrase = " ".join(words[index : index + length])
            value = known.seniority.get(phrase)
            if value is None and length == 1 and len(phrase) > 6:
                value = next((v for ending, v in known.endings if phrase.endswith(ending)), None)
            if value is not None:
                found.append((index, value, length))
                index += length
                break
        else:
            index += 1
    return found


def _decide(words: Sequence[str], found: list[tuple[int, str, int]]) -> tuple[str, bool]:
    """The seniority of the whole title, and whether it only assists the leader it names."""
    if not found:
        return "professional", False
    values = [value for _, value, _ in found]
    # "Assistant to the Director", "Secretary of the President", "Quality Manager Assistant": the leader is
    # another.
    for start, value, length in found:
        after = words[start + length : start + length + 1]
        last = start + length == len(words)
        if value in ("junior", "intern") and ((after and after[0] in ("to", "of", "der", "des", "de")) or last):
            return value, True
    if "intern" in values:
        return "intern", True
    highest = max(values, key=SENIORITIES.index)
    if highest == "manager" and "senior" in values:
        return "senior", False
    if highest == "lead" and "senior" in values and words[found[0][0]] == "senior":
        return "senior" if all(w not in ("head", "leader") for w in words) else "lead", False
    return highest, False


def _track(words: Sequence[str], known: _Words, consumed: set[int], lowering: bool) -> str:
    if lowering:
        return "IC"
    text = f" {' '.join(words)} "
    if " non managerial " in text or " non supervisory " in text:
        return "IC"
    if any(f" {phrase} " in text for phrase in known.not_manager):
        return "IC"
    if any(word in ("to", "secretary") for word in words[:3]) and words[0] in (
        "assistant",
        "secretary",
        "aide",
    ):
        return "IC"
    for index in range(len(words)):
        if index in consumed:
            continue
        for length in range(min(_LONGEST, len(words) - index), 0, -1):
            phrase = " ".join(words[index : index + length])
            ending = (
                length == 1
                and len(phrase) > 6
                and any(phrase.endswith(tail) for tail in known.manager_endings)
                and not any(phrase.endswith(tail) for tail in known.thing_endings)
            )
            if (phrase in known.manager or ending) and not _of_things(words, index, length, known):
                return "M"
    return "IC"


def _of_things(words: Sequence[str], index: int, length: int, known: _Words) -> bool:
    """Whether the manager word at INDEX manages projects, products or accounts, not people."""
    word = words[index]
    for before in (1, 2):
        if index >= before and " ".join(words[index - before : index]) in known.of_things:
            return word in ("manager", "managers", "lead", "leader", "leiter", "manageress")
    for ahead in (1, 2, 3, 4):
        if " ".join(words[index : index + length + ahead]) in known.of_things:
            return True
    # "Chief" and "head" lead only with something after them; "lead" and "chef" alone are no proof.
    return word in ("head", "chief") and index == len(words) - 1 and index == 0
