"""Tidying up: everything that has expired, wherever it lies, whether a person, a schedule or the daemon asks for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace

from bridge.ports import BridgeError
from bridge.settings import Settings
from bridge.store import Store
from bridge.sync.clock import Clock
from connectors.feeds import FeedSource
from jobs import retention
from jobs.failed_jobs import drop_failed
from jobs.feed_desk import source_of
from jobs.retention import Tidied


def tidy(store: Store, settings: Settings, clock: Clock, stop: Callable[[], str] = lambda: "") -> Tidied:
    """Remove everything that has expired by `[retention]`. What cannot be removed is told, and stops nothing else."""
    troubles: list[str] = []
    with ExitStack() as open_ones:
        sources: dict[str, FeedSource] = {}
        for name, feed in settings.feeds.items() if settings.retention.archives else ():
            if not feed.path and feed.kind == "folder":
                continue  # nothing is ever delivered to it, so nothing is ever archived
            try:
                sources[name] = source_of(settings, name, feed, clock)
                open_ones.callback(sources[name].close)
            except BridgeError as error:
                troubles.append(f"The archive of the feed {name} was not tidied: {error}")
        done = retention.tidy(store, settings, clock, sources, stop)
    queued = 0
    if (before := settings.retention.before("runs", clock.now())) is not None:
        queued = drop_failed(store, before)
    return replace(done, queued=queued, troubles=(*troubles, *done.troubles))
