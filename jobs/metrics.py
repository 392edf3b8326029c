"""Figures for Prometheus: what ran and how, and how every site stands."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from bridge.store import Store, StoreFault, feeds, unattended
from jobs.steps import StepEnd


class _Standing:
    """What is read from the store whenever somebody asks."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def describe(self) -> Iterable[Metric]:
        """Name nothing beforehand, so that registering does not ask the store."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield how everything stands now."""
        success = GaugeMetricFamily(
            "lms_bridge_last_success_timestamp_seconds", "When a step last ended well.", labels=["site", "step"]
        )
        lag = GaugeMetricFamily("lms_bridge_lag_seconds", "Time since a step last ended well.", labels=["site", "step"])
        failures = GaugeMetricFamily("lms_bridge_site_failures", "Failures in a row.", labels=["site"])
        circuit = GaugeMetricFamily(
            "lms_bridge_circuit_open", "1 where the LMS does not let the account in.", labels=["site"]
        )
        quarantine = GaugeMetricFamily(
            "lms_bridge_feed_quarantined", "1 while a feed is in quarantine.", labels=["feed"]
        )
        titles = GaugeMetricFamily("lms_bridge_unmapped_titles", "Titles without a position.", labels=["feed"])
        waiting = GaugeMetricFamily("lms_bridge_notices_waiting", "Notices that are not sent yet.")
        up = GaugeMetricFamily("lms_bridge_store_up", "1 where the store answers.")
        try:
            with self._store.read() as connection:
                for step in unattended.steps(connection):
                    if step.succeeded_at is not None:
                        success.add_metric([step.site, step.step], step.succeeded_at)
                        lag.add_metric([step.site, step.step], max(0.0, time.time() - step.succeeded_at))
                for trouble in unattended.troubles(connection).values():
                    failures.add_metric([trouble.site], trouble.failures)
                    circuit.add_metric([trouble.site], float(trouble.open))
                for feed in feeds.all_feeds(connection):
                    quarantine.add_metric([feed.name], float(feed.quarantined))
                    titles.add_metric([feed.name], len(feeds.unmapped_titles(connection, feed.name)))
                waiting.add_metric([], len(unattended.unsent(connection)))
            up.add_metric([], 1.0)
        except StoreFault:
            up.add_metric([], 0.0)
        yield from (success, lag, failures, circuit, quarantine, titles, waiting, up)


class Metrics:
    """The figures of one daemon."""

    def __init__(self, store: Store) -> None:
        self.registry = CollectorRegistry()
        self._steps = Counter(
            "lms_bridge_steps", "Steps that ended.", ["site", "step", "state"], registry=self.registry
        )
        self._seconds = Histogram(
            "lms_bridge_step_seconds",
            "How long steps took.",
            ["step"],
            buckets=(0.1, 1, 5, 30, 60, 300, 900, 3600, 4 * 3600),
            registry=self.registry,
        )
        self._firings = Counter(
            "lms_bridge_firings", "Firings of schedules.", ["schedule", "state"], registry=self.registry
        )
        self.registry.register(_Standing(store))

    def step(self, site: str, end: StepEnd) -> None:
        """Count a step that ended."""
        self._steps.labels(site, end.step, end.state).inc()
        self._seconds.labels(end.step).observe(end.seconds)

    def firing(self, schedule: str, state: str) -> None:
        """Count a firing that ended, was left out, or was another daemon's."""
        self._firings.labels(schedule, state).inc()

    def text(self) -> bytes:
        """Return everything in Prometheus's text format."""
        return generate_latest(self.registry)
