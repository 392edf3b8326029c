"""Reads a job title into comparable words, and sets its level, track, specialism and conditions apart."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from mappings.titles.levels import LevelReading, read_level

LAST = "(last)"
"""Context of an abbreviation that ends its title, but for a numeral: "Software Eng II"."""
_NUMERALS = frozenset(("i", "ii", "iii", "iv", "v", *"123456789"))

MAX_TITLE = 300
"""Characters of a title that are compared; what follows never distinguishes two jobs."""

_DATA = files("mappings.titles") / "data"

# Markers that say who may apply, not what the job is: (m/w/d), (f/m/x), H/F.
_GENDER = re.compile(r"\(\s*[mwfdxhn]\s*(?:[/|]\s*[mwfdxhn]\s*)+\)|\b[hf]/[fh]\b|\bm/w(?:/d)?\b", re.I)
# A requisition or organisation code: BWT-003-, KBGFJG51066-13, #4711, (R-20931), 002-FMC-CFO-.
_CODE = re.compile(
    r"(?<![\w])#\s*\d+"
    r"|^\s*(?:[A-Z]{2,5}-\d{2,5}|\d{3,5}-[A-Z]{2,5}(?:-[A-Z]{2,5})*)\s*[-:]"
    r"|[\[(]\s*(?=[^\])]*\d{3})[A-Z0-9#./ -]{3,20}\s*[\])]"
    r"|(?<![\w])(?=[A-Z0-9-]*\d{4})[A-Z]{1,8}-?\d[A-Z0-9-]{3,}(?![\w])"
    r"|(?<![\w])\d{5,}(?:-\d+)?(?![\w])"
)
_ELISION = re.compile(r"\b([dl])'(?=[a-z]{3})")
_BRACKET = re.compile(r"[\[({]([^\])}]*)[\])}]")
_WORD = re.compile(r"c\+\+|c#|f#|\.net\b|r&d\b|[a-z0-9]+(?:'[a-z]+)?")
_COMMA = re.compile(r"\s*,\s*|\s+[-–—|:]\s+|\s*[;|]\s*")
_PARTS = re.compile(r"[\[({,;|:–—-]")
_FOLD = str.maketrans({"ß": "ss", "ø": "o", "æ": "ae", "œ": "oe", "ł": "l", "đ": "d", "ı": "i", "’": "'"})
_SPELLING = {
    "programme": "program", "programmes": "programs", "centre": "center", "labour": "labor",
    "licence": "license", "organisation": "organization", "organisational": "organizational",
    "organisations": "organizations", "paediatric": "pediatric", "anaesthesia": "anesthesia",
    "anaesthetist": "anesthetist", "theatre": "theater", "behaviour": "behavior",
    "behavioural": "behavioral", "adviser": "advisor", "analyse": "analyze", "specialise": "specialize",
    "counsellor": "counselor", "jewellery": "jewelry", "fibre": "fiber", "gynaecology": "gynecology",
    "orthopaedic": "orthopedic", "tyre": "tire", "defence": "defense", "aluminium": "aluminum",
    "cheque": "check", "aeroplane": "airplane", "traveller": "traveler", "enquiry": "inquiry",
    "optimisation": "optimization", "visualisation": "visualization",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NormalisedTitle:
    """A title as it is compared, with everything it says about level kept in fields of its own."""

    raw: str
    text: str
    """All words, spelled out, level words included."""
    core: str
    """The words that name the work: no level, contract, shift or code."""
    level: LevelReading
    specialism: str
    """What follows the first comma or dash, or stands in brackets."""
    codes: tuple[str, ...]
    conditions: tuple[str, ...]
    """Contract, shift, working-time and place words."""


@dataclass(frozen=True)
class Abbreviations:
    """What abbreviations stand for; an ambiguous one only where its context decides."""

    plain: dict[str, tuple[str, ...]] = field(default_factory=dict)
    by_context: dict[str, tuple[tuple[re.Pattern[str], tuple[str, ...]], ...]] = field(default_factory=dict)

    def expand(self, words: Sequence[str], context: str) -> list[str]:
        """Spells out the abbreviations in WORDS; CONTEXT is a lower-case department or family name."""
        out: list[str] = []
        for position, word in enumerate(words):
            if (plain := self.plain.get(word)) is not None:
                out.extend(plain)
                continue
            options = self.by_context.get(word)
            if options is None:
                out.append(word)
                continue
            others = " ".join([*words[:position], *words[position + 1 :]])
            if all(later in _NUMERALS for later in words[position + 1 :]):
                others += f" {LAST}"
            out.extend(_first_fitting(options, f"{others} | {context}") or (word,))
        return out


def _first_fitting(
    options: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...], surroundings: str
) -> tuple[str, ...] | None:
    for pattern, expansion in options:
        if pattern.search(surroundings):
            return expansion
    return None


def load_abbreviations(path: Path | None = None) -> Abbreviations:
    """Reads an abbreviation list: columns abbreviation, expansion, context.

    Without PATH the shipped list is read. An empty context means always; otherwise the expansion holds where
    one of the words in the context (parted by a bar) starts a word of the title, the department or the
    family.
    """
    text = path.read_text(encoding="utf-8-sig") if path else (_DATA / "abbreviations.csv").read_text("utf-8")
    plain: dict[str, tuple[str, ...]] = {}
    contextual: dict[str, list[tuple[re.Pattern[str], tuple[str, ...]]]] = {}
    rows = [
        (fold(row["abbreviation"] or "").strip(), tuple(fold(row["expansion"] or "").split()), row["context"])
        for row in csv.DictReader(text.splitlines())
    ]
    ambiguous = {abbreviation for abbreviation, _, context in rows if (context or "").strip()}
    for abbreviation, expansion, context in rows:
        if not abbreviation or not expansion:
            continue
        if abbreviation not in ambiguous:
            plain[abbreviation] = expansion
            continue
        words = [fold(word) for word in (context or "").split("|") if word.strip()]
        starts = "|".join(re.escape(word) for word in words if word != LAST)
        pattern = rf"\b(?:{starts})" if starts or not words else r"(?!)"
        if LAST in words:
            pattern += "|" + re.escape(LAST)
        contextual.setdefault(abbreviation, []).append((re.compile(pattern), expansion))
    return Abbreviations(plain, {key: tuple(options) for key, options in contextual.items()})


@lru_cache(maxsize=1)
def shipped_abbreviations() -> Abbreviations:
    """The abbreviation list that comes with the package."""
    return load_abbreviations()


@lru_cache(maxsize=1)
def shipped_synonyms() -> dict[str, tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]]:
    """Phrases that employers use for one thing, by their first word, the longest first."""
    found: dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]] = {}
    for row in csv.DictReader((_DATA / "synonyms.csv").read_text("utf-8").splitlines()):
        phrase = tuple(row["phrase"].split())
        found.setdefault(phrase[0], []).append((phrase, tuple(row["same_as"].split())))
    return {first: tuple(sorted(options, key=lambda o: -len(o[0]))) for first, options in found.items()}


def replace_synonyms(words: list[str]) -> list[str]:
    """WORDS with every shipped synonym replaced by its common form."""
    synonyms = shipped_synonyms()
    if not any(word in synonyms for word in words):
        return words
    out: list[str] = []
    index = 0
    while index < len(words):
        for phrase, same_as in synonyms.get(words[index], ()):
            if tuple(words[index : index + len(phrase)]) == phrase:
                out.extend(same_as)
                index += len(phrase)
                break
        else:
            out.append(words[index])
            index += 1
    return out


def fold(text: str) -> str:
    """Lower case without accents, with typographic variants made plain."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFKD", text.lower().translate(_FOLD))
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def singular(word: str) -> str:
    """An English plural made singular; other words as they are."""
    if len(word) < 5 or not word.endswith("s") or word.endswith(("ss", "us", "is", "ics")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "sses", "xes")):
        return word[:-2]
    return word[:-1]


def normalise(title: str, context: str = "", abbreviations: Abbreviations | None = None) -> NormalisedTitle:
    """Reads TITLE; CONTEXT (a department or family name) helps with abbreviations that are ambiguous."""
    known = shipped_abbreviations() if abbreviations is None else abbreviations
    raw = title
    text = title[:MAX_TITLE]
    codes: list[str] = []
    if any(character.isdigit() for character in text):
        codes = [match.strip(" -:()[]#") for match in _CODE.findall(text)]
        text = _CODE.sub(" ", text) if codes else text
    if "/" in text:
        text = _GENDER.sub(" ", text)
    folded = fold(text).replace("&", " and ").replace("r and d", "research and development")
    specialism = _specialism(folded)
    words = [
        _SPELLING.get(word, word)
        for word in _WORD.findall(_ELISION.sub(r"\1 ", folded).replace("'s", "").replace("'", ""))
    ]
    words = replace_synonyms(known.expand(words, fold(context) if context else ""))
    reading = read_level(words)
    core = [singular(word) for index, word in enumerate(words) if index not in reading.consumed and word != "and"]
    if not core:
        core = words
    return NormalisedTitle(
        raw=raw,
        text=" ".join(words),
        core=" ".join(core),
        level=reading,
        specialism=specialism,
        codes=tuple(codes),
        conditions=reading.conditions,
    )


def normalise_all(
    titles: Iterable[str], contexts: Iterable[str] | None = None, abbreviations: Abbreviations | None = None
) -> list[NormalisedTitle]:
    """Reads many titles; equal titles in equal contexts are read once."""
    known = shipped_abbreviations() if abbreviations is None else abbreviations
    seen: dict[tuple[str, str], NormalisedTitle] = {}
    out = []
    titles = list(titles)
    for title, context in zip(titles, contexts if contexts is not None else [""] * len(titles), strict=True):
        key = (title, context)
        if key not in seen:
            seen[key] = normalise(title, context, known)
        out.append(seen[key])
    return out


def _specialism(folded: str) -> str:
    if not _PARTS.search(folded):
        return ""
    bracketed = [part.strip() for part in _BRACKET.findall(folded) if len(part.strip()) > 1]
    plain = _BRACKET.sub(" ", folded)
    parts = [part.strip(" .-") for part in _COMMA.split(plain)]
    return " ".join([*(part for part in parts[1:] if part), *bracketed]).strip()
