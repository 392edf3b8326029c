"""Bringing results back from a site's scheduled reports, one report after the other."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bridge.model import Certification, CourseCompletion, Result
from bridge.ports import FixConfiguration, Page, PullScope, Remark, Severity
from connectors.totara import reports
from connectors.totara.reports import ReportFormat, ReportRows, ReportSource

# Report kind -> the kind of result it holds.
RESULT_OF = {
    "course_completion": "completions",
    "course_completion_all": "completions",
    "program_completion": "certifications",
    "certification_completion": "certifications",
    "dp_certification": "certifications",
    "competency_status": "attainments",
}

_READERS: Mapping[str, Callable[[ReportRows], Iterator[Certification]]] = {
    "certification_completion": reports.certifications,
    "dp_certification": reports.learning_plan_certifications,
}
_OLD = 2
"""A file of so many days ago is worth a word."""


class Results:
    """The reports with results of one site."""

    def __init__(
        self,
        folder: Path | None,
        sources: Iterable[ReportSource],
        form: ReportFormat,
        key_of: Callable[[str], str | None],
        level_of: Callable[[str, str], int | None],
        settled: Callable[[Path], Path] = reports.stable,
        today: Callable[[], dt.date] = lambda: dt.datetime.now(dt.UTC).date(),
    ) -> None:
        self._folder = folder
        self._sources = tuple(sources)
        self._form = form
        self._key_of = key_of
        self._level_of = level_of
        self._settled = settled
        self._today = today
        self._still: dict[Path, Path] = {}
        """Files that were found not to grow any more: looking takes seconds."""
        unknown = [source.kind for source in self._sources if source.kind not in RESULT_OF]
        if unknown:
            message = f"{', '.join(unknown)} is no report with results; there are {', '.join(RESULT_OF)}."
            raise FixConfiguration(message)

    def pages(self, scope: PullScope, cursor: str | None = None) -> Iterator[Page]:
        """Results page by page; the cursor counts the reports that are through.

        A report without a file gives a remark and makes nothing whole. What a recertification reset is no loss: the
        completions are whole only with the report that includes the history.

        Raises:
            FixConfiguration: a report lacks a column; RetryLater: one is still being written.
        """
        wanted = [source for source in self._sources if not scope.kinds or RESULT_OF[source.kind] in scope.kinds]
        start = int(cursor) if cursor else 0
        whole = {RESULT_OF[source.kind] for source in wanted} if not start and scope.since is None else set()
        if "completions" in whole and "course_completion_all" not in {source.kind for source in wanted}:
            whole.discard("completions")
        for number, source in enumerate(wanted[start:], start + 1):
            last = number == len(wanted)
            rows = self._rows(source)
            if rows is None:
                whole.discard(RESULT_OF[source.kind])
                yield Page((), str(number), last, frozenset(whole) if last else frozenset(), (reports.absent(source),))
                continue
            batches = iter(_batched(self._of(source, rows, scope, wanted), scope.page_rows))
            batch = next(batches, [])
            for following in batches:
                yield Page(batch, str(number - 1))
                batch = following
            if rows.remarks:
                whole.discard(RESULT_OF[source.kind])
            remarks = (*rows.remarks, *rows.notes, *self._old(source))
            yield Page(batch, str(number), last, frozenset(whole) if last else frozenset(), remarks)
        if not wanted[start:]:
            remark = Remark(Severity.NOTE, "", "", "No report with results is named in the settings of this site.")
            yield Page((), str(start), last=True, remarks=() if wanted else (remark,))

    def _rows(self, source: ReportSource) -> ReportRows | None:
        """The rows of a report's youngest file; None where there is none."""
        found = reports.find_report(self._folder, source) if self._folder is not None else None
        if found is None:
            return None
        if found.path not in self._still:
            self._still[found.path] = self._settled(found.path)
        return ReportRows(self._still[found.path], self._form)

    def _old(self, source: ReportSource) -> Iterator[Remark]:
        """What a report of some days ago means: the site wrote none since, being empty or having failed."""
        found = reports.find_report(self._folder, source) if self._folder is not None else None
        if found is not None and (self._today() - found.day).days >= _OLD:
            says = (
                f"The youngest file of the report “{source.name}” is of {found.day:%d %B %Y}. The site writes none "
                "when the report is empty, and none when it failed: look at its schedule if you expect a newer one."
            )
            yield Remark(Severity.NOTE, source.kind, source.name, says)

    def _of(
        self, source: ReportSource, rows: ReportRows, scope: PullScope, wanted: Sequence[ReportSource]
    ) -> Iterator[Result]:
        match source.kind:
            case "course_completion" | "course_completion_all":
                found: Iterable[Result] = reports.latest_completions(reports.course_completions(rows, source.kind))
            case "program_completion":
                found = reports.program_completions(rows)
            case "certification_completion":
                found = self._certifications(rows, wanted)
            case "dp_certification":
                found = self._other_certifications(rows, wanted)
            case _:
                found = reports.attainments(rows, self._key_of, self._level_of)
        return (one for one in found if _is_meant(one, scope))

    def _certifications(self, rows: ReportRows, wanted: Sequence[ReportSource]) -> Iterator[Certification]:
        """Certifications, with the window's dates where the learner's view is exported too: one record, not two."""
        seen = {_held(one): one for one in self._by_kind("dp_certification", wanted)}
        for one in reports.certifications(rows):
            more = seen.get(_held(one))
            if more is not None:
                completed, expires = more.completed_at or one.completed_at, more.expires_at or one.expires_at
                yield replace(one, completed_at=completed, expires_at=expires)
            else:
                yield one

    def _other_certifications(self, rows: ReportRows, wanted: Sequence[ReportSource]) -> Iterator[Certification]:
        """What the learner's view shows beside the certifications told of already."""
        told = {_held(one) for one in self._by_kind("certification_completion", wanted)}
        return (one for one in reports.learning_plan_certifications(rows) if _held(one) not in told)

    def _by_kind(self, kind: str, wanted: Sequence[ReportSource]) -> Iterator[Certification]:
        for source in wanted:
            rows = self._rows(source) if source.kind == kind else None
            if rows is not None:
                yield from _READERS[kind](rows)


def _held(one: Certification) -> tuple[str, str, str]:
    return (one.person, one.lms_user, one.certification)


def _is_meant(one: Result, scope: PullScope) -> bool:
    """Whether a result is in the window. A completion not recorded yet always is: it may have been dated back."""
    if scope.since is None or not isinstance(one, CourseCompletion) or one.completed_at is None:
        return True
    if one.completed_at.timestamp() >= scope.since:
        return True
    return scope.known is not None and not scope.known(one.person or one.lms_user, one.course)


def _batched(results: Iterable[Result], size: int) -> Iterator[list[Result]]:
    iterator = iter(results)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


__all__ = ["RESULT_OF", "Results"]
