"""Which way each kind of object goes into a site, and who made what: an object belongs to the channel that made it.

HR Import leaves alone, without a word, what was made by hand or through an API (``totarasync=0``, recorded); the API
changes what HR Import made, until a file says otherwise. So each kind has one owner channel, and what the other one
made is named instead of being sent into silence.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

HRIMPORT, GRAPHQL = "hrimport", "graphql"

PLURAL: Mapping[str, str] = {
    "competency": "competencies",
    "organisation": "organisations",
    "position": "positions",
    "person": "people",
    "job": "job assignments",
}
"""Kind to what several of it are called."""

SINCE: Mapping[str, str] = {"person": "17", "job": "17", "organisation": "19", "position": "19"}
"""Kind to the first release of Totara whose API writes it; competencies have no API."""


@dataclass(frozen=True, slots=True)
class Channels:
    """The owner channel of each kind, HR Import unless the settings say otherwise."""

    owner_of: Mapping[str, str] = field(default_factory=dict)
    switched: frozenset[str] = frozenset()
    """Kinds whose objects were given to their present channel on purpose: what the other one made is theirs too."""

    def owner(self, kind: str) -> str:
        """The channel a kind goes through."""
        return self.owner_of.get(kind, HRIMPORT)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one object that went into the site."""

    kind: str
    key: str
    channel: str
    person: str = ""
    """For a job: whose it is."""
    content: str = ""
    """A digest of what was sent last."""
    seen_at: int = 0
    """When that content was first seen (unix seconds): the ``timemodified`` of its row."""
    fate: str = ""
    """What became of it: empty while open."""


_SCHEMA = (
    """
create table if not exists objects (
    kind text not null, key text not null, channel text not null, person text not null default '',
    content text not null default '', seen_at integer not null default 0, fate text not null default '',
    row text not null default '', primary key (kind, key)
)
""",
    "create table if not exists ends (job text primary key, day text not null)",
)


class Ledger:
    """Remembers, beside the spool, every object that was sent: through which channel, with what content, since when."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self._path, timeout=30)
        try:
            for table in _SCHEMA:
                connection.execute(table)
            with connection:
                yield connection
        finally:
            connection.close()

    def known(self, kind: str) -> dict[str, Known]:
        """Everything known of a kind, by key."""
        if not self._path.is_file():
            return {}
        with self._open() as connection:
            found = connection.execute(
                "select kind, key, channel, person, content, seen_at, fate from objects where kind = ?", (kind,)
            )
            return {row[1]: Known(*row) for row in found}

    def rows(self, kind: str) -> dict[str, str]:
        """The rows of a kind that were sent last, by key, as they were kept."""
        if not self._path.is_file():
            return {}
        with self._open() as connection:
            return dict(connection.execute("select key, row from objects where kind = ? and row != ''", (kind,)))

    def note(self, objects: Iterable[tuple[Known, str]]) -> None:
        """Write objects down with their rows (empty: none is kept), over what was known of them."""
        with self._open() as connection:
            connection.executemany(
                "insert or replace into objects (kind, key, channel, person, content, seen_at, fate, row) "
                "values (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    (one.kind, one.key, one.channel, one.person, one.content, one.seen_at, one.fate, row)
                    for one, row in objects
                ),
            )

    def settle(self, kind: str, fates: Iterable[tuple[str, int, str]]) -> None:
        """Note what became of (key, moment of its content): a newer content that is on its way stays open."""
        with self._open() as connection:
            connection.executemany(
                "update objects set fate = ? where kind = ? and key = ? and seen_at = ?",
                ((fate, kind, key, seen_at) for key, seen_at, fate in fates),
            )

    def ends(self) -> dict[str, str]:
        """The last days that jobs were given, as ISO text."""
        if not self._path.is_file():
            return {}
        with self._open() as connection:
            return dict(connection.execute("select job, day from ends"))

    def note_ends(self, days: Iterable[tuple[str, str | None]]) -> None:
        """Write down the last days that jobs are given; None where one goes on."""
        told = list(days)
        with self._open() as connection:
            connection.executemany("delete from ends where job = ?", ((job,) for job, day in told if day is None))
            given = ((job, day) for job, day in told if day is not None)
            connection.executemany("insert or replace into ends (job, day) values (?, ?)", given)

    def forget(self, kind: str, keys: Iterable[str]) -> None:
        """Drop objects that are gone from the site."""
        with self._open() as connection:
            connection.executemany("delete from objects where kind = ? and key = ?", ((kind, key) for key in keys))

    def made_through(self, channel: str, kind: str) -> list[str]:
        """The keys of a kind that went in through a channel."""
        return self._keys("channel", channel, kind)

    def with_fate(self, fate: str, kind: str) -> list[str]:
        """The keys of a kind of which this became."""
        return self._keys("fate", fate, kind)

    def _keys(self, column: str, value: str, kind: str) -> list[str]:
        if not self._path.is_file():
            return []
        # The column is one of two named above.
        query = f"select key from objects where {column} = ? and kind = ? order by key"  # noqa: S608 - as said above
        with self._open() as connection:
            return [key for (key,) in connection.execute(query, (value, kind))]
