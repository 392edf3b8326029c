"""Bringing results back from a site's scheduled reports, one report after the other."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from bridge.model import CourseCompletion, Result
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
    ) -> None:
        self._folder = folder
        self._sources = tuple(sources)
        self._form = form
        self._key_of = key_of
        self._level_of = level_of
        self._settled = settled
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
            found = reports.find_report(self._folder, source) if self._folder is not None else None
            if found is None:
                whole.discard(RESULT_OF[source.kind])
                yield Page((), str(number), number == len(wanted), frozenset(), (reports.absent(source),))
                continue
            rows = ReportRows(self._settled(found.path), self._form)
            batches = iter(_batched(self._of(source, rows, scope), scope.page_rows))
            batch = next(batches, [])
            for following in batches:
                yield Page(batch, str(number - 1))
                batch = following
            if rows.remarks:
                whole.discard(RESULT_OF[source.kind])
            last = number == len(wanted)
            yield Page(batch, str(number), last, frozenset(whole) if last else frozenset(), tuple(rows.remarks))
        if not wanted[start:]:
            remark = Remark(Severity.NOTE, "", "", "No report with results is named in the settings of this site.")
            yield Page((), str(start), last=True, remarks=() if wanted else (remark,))

    def _of(self, source: ReportSource, rows: ReportRows, scope: PullScope) -> Iterator[Result]:
        match source.kind:
            case "course_completion" | "course_completion_all":
                found: Iterable[Result] = reports.latest_completions(reports.course_completions(rows, source.kind))
            case "program_completion":
                found = reports.program_completions(rows)
            case "certification_completion":
                found = reports.certifications(rows)
            case "dp_certification":
                found = reports.learning_plan_certifications(rows)
            case _:
                found = reports.attainments(rows, self._key_of, self._level_of)
        for one in found:
            moment = one.completed_at if isinstance(one, CourseCompletion) else None
            if scope.since is None or moment is None or moment.timestamp() >= scope.since:
                yield one


def _batched(results: Iterable[Result], size: int) -> Iterator[list[Result]]:
    iterator = iter(results)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


__all__ = ["RESULT_OF", "Results"]
