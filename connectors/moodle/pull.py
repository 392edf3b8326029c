"""Bringing results back, page by page, by the cheapest route a site offers.

A cursor names the kind of result and the page or person that comes next, so that a pull that was cut off goes on
there. Reports are read in bulk; what no report has is asked for in batches of people.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bridge.model import Result
from bridge.ports import Page, PullScope, Remark, Severity
from connectors.moodle import by_person
from connectors.moodle.by_person import Account, Missed
from connectors.moodle.errors import LacksFunction, LacksPermission
from connectors.moodle.kinds import Context
from connectors.moodle.reports import (
    LIST_REPORTS,
    RETRIEVE,
    Count,
    Report,
    Reports,
    Table,
    Unsuitable,
    attainments_in,
    choose_reports,
    completed_filter,
    completions_in,
    read_page,
)

STAGES = ("completions", "attainments", "activities", "plans", "badges")

PEOPLE_A_PAGE = 200
"""People whose results make one page where they are read person by person; bounds what an interruption costs."""


class Pull:
    """One pull of a scope. Raises FixConfiguration or StopRun where nothing can be read."""

    def __init__(self, context: Context, scope: PullScope) -> None:
        self._context = context
        self._scope = scope
        self._chosen: Reports | None = None
        self._people: list[Account] | None = None

    def pages(self, cursor: str | None) -> Iterator[Page]:
        """Yield the pages after a cursor, the last one marked."""
        stages = [stage for stage in STAGES if self._wants(stage)]
        place = _place(cursor)
        if place["stage"] in stages:
            stages = stages[stages.index(str(place["stage"])) :]
        elif place["stage"] == "end":
            stages = []
        held: Page | None = None
        for stage in stages:
            start = place if place["stage"] == stage else {"stage": stage}
            for page in self._bearing(stage, start, alone=len(stages) == 1):
                if held is not None:
                    yield held
                held = page
        end = _cursor("end")
        if held is None:
            yield Page([], end, last=True)
        else:
            yield Page(held.results, end, last=True, whole=held.whole, remarks=held.remarks)

    def _bearing(self, stage: str, start: Mapping[str, Any], *, alone: bool) -> Iterator[Page]:
        """Yield the pages of one kind; where only this kind lacks a permission or a function the others still come.

        Anything else that is wrong (a token, a certificate, an address) is wrong with the site: going on would pass
        off what could not be read as nothing new.
        """
        try:
            yield from self._stage(stage, start)
        except (LacksPermission, LacksFunction) as error:
            if alone:
                raise
            yield Page([], _cursor(stage, failed=True), remarks=(Remark(Severity.WARNING, stage, "", str(error)),))

    def _wants(self, stage: str) -> bool:
        if stage == "activities":
            asked = not self._scope.kinds or stage in self._scope.kinds
            return asked and bool(self._scope.activities_of)
        return not self._scope.kinds or stage in self._scope.kinds

    def _stage(self, stage: str, start: Mapping[str, Any]) -> Iterator[Page]:
        match stage:
            case "completions" | "attainments":
                report = self._report(stage) if start.get("route") != "people" else None
                if report is None:
                    yield from self._by_people(stage, start)
                else:
                    yield from self._by_report(stage, report, start)
            case "activities":
                yield from self._activities(start)
            case _:
                yield from self._by_people(stage, start)

    # --- By report -------------------------------------------------------------------------------------------------

    def _report(self, stage: str) -> Report | None:
        if not {LIST_REPORTS, RETRIEVE} <= self._context.client.functions():
            return None
        if self._chosen is None:
            self._chosen = choose_reports(self._context)
        return self._chosen.completions if stage == "completions" else self._chosen.competencies

    def _by_report(self, stage: str, report: Report, start: Mapping[str, Any]) -> Iterator[Page]:
        since = self._scope.since if stage == "completions" else None
        # A page number means something only with the page size and report it was counted in.
        fits = start.get("report") == report.id and start.get("rows") == self._scope.page_rows
        number = int(start.get("page", 0)) if fits else 0
        count = Count()
        while True:
            try:
                table = self._table(stage, report, number)
                results = self._results(stage, table, since, count)
            except Unsuitable as error:
                slow = Remark(Severity.WARNING, stage, report.name, f"{error} So it is read person by person.")
                yield from self._by_people(stage, {"stage": stage}, (slow,))
                return
            number += 1
            done = number * self._scope.page_rows >= table.total or not table.rows
            cursor = _cursor(stage, report=report.id, rows=self._scope.page_rows, page=number)
            yield Page(
                results,
                cursor,
                whole=frozenset({stage}) if done and since is None else frozenset(),
                remarks=_remarks(stage, report, count) if done else (),
            )
            if done:
                return

    def _table(self, stage: str, report: Report, number: int) -> Table:
        filters = completed_filter(self._scope.since) if stage == "completions" else None
        return read_page(self._context, report, number, self._scope.page_rows, filters)

    def _results(self, stage: str, table: Table, since: float | None, count: Count) -> list[Result]:
        if stage == "completions":
            return list(completions_in(table, since, count))
        return list(attainments_in(table, self._labels(), count))

    def _labels(self) -> dict[str, Sequence[str]]:
        """Return the scale labels of each framework by its key."""
        directory = self._context.directory
        rows = directory.framework_rows if directory.framework_rows is not None else directory.list_frameworks()
        labels = directory.labels_of(int(row["scaleid"]) for row in rows)
        return {str(row["idnumber"]): labels[int(row["scaleid"])] or () for row in rows if row["idnumber"]}

    # --- By person -------------------------------------------------------------------------------------------------

    def _by_people(self, stage: str, start: Mapping[str, Any], remarks: Sequence[Remark] = ()) -> Iterator[Page]:
        if self._people is None:
            self._people = by_person.accounts(self._context)
        if stage == "attainments" and self._context.directory.framework_rows is None:
            self._context.directory.list_frameworks()
        after = int(start.get("after", 0))
        people = [person for person in self._people if person.id > after]
        held = tuple(remarks)
        missed = Missed()
        for first in range(0, max(1, len(people)), PEOPLE_A_PAGE):
            group = people[first : first + PEOPLE_A_PAGE]
            done = first + PEOPLE_A_PAGE >= len(people)
            results = list(self._of_people(stage, group, missed))
            last = group[-1].id if group else after
            # Ratings outside of plans and courses that are hidden are not seen this way: neither is whole.
            whole = done and stage in ("plans", "badges") and not missed.count
            if done and missed.count:
                held = (*held, _refused(stage, missed))
            cursor = _cursor(stage, route="people", after=last)
            yield Page(results, cursor, whole=frozenset({stage}) if whole else frozenset(), remarks=held)
            held = ()

    def _of_people(self, stage: str, people: Sequence[Account], missed: Missed) -> Iterator[Result]:
        match stage:
            case "completions":
                known = self._scope.known if self._scope.since is not None else None
                return by_person.completions(self._context, people, known, missed)
            case "attainments":
                return by_person.attainments(self._context, people, missed)
            case "plans":
                return by_person.plans(self._context, people, missed)
            case _:
                return by_person.badges(self._context, people, missed)

    def _activities(self, start: Mapping[str, Any]) -> Iterator[Page]:
        self._context.directory.wanted_courses |= set(self._scope.activities_of)
        courses = self._context.directory.list_courses()
        by_key = {key: id_ for id_, key in courses.items()} | self._context.directory.courses
        asked = list(dict.fromkeys(self._scope.activities_of))
        remarks = tuple(
            Remark(Severity.WARNING, "activities", key, "Moodle has no course with this ID number or short name.")
            for key in asked
            if key not in by_key
        )
        there = [key for key in asked if key in by_key]
        begin = there.index(start["course"]) + 1 if start.get("course") in there else 0
        for place, key in enumerate(there[begin:], start=begin + 1):
            missed = Missed()
            found = list(by_person.activities(self._context, [(by_key[key], courses.get(by_key[key], key))], missed))
            said = (_refused("activities", missed, f" in course {key}"),) if missed.count else ()
            yield Page(
                found,
                _cursor("activities", course=key),
                remarks=(*said, *remarks) if place == len(there) else said,
            )
        if not there[begin:] and remarks:
            yield Page([], _cursor("activities", course=""), remarks=remarks)


def _refused(stage: str, missed: Missed, where: str = "") -> Remark:
    says = (
        f"{missed.count:,} answers about {stage}{where} were refused and are missing, the first because: {missed.why}"
    )
    return Remark(Severity.WARNING, stage, "", says)


def _remarks(stage: str, report: Report, count: Count) -> tuple[Remark, ...]:
    remarks = []
    if count.early:
        says = (
            f"The report {report.name!r} has no filter *time completed*, so that every pull reads all of it. Add the "
            "filter in Moodle (Report builder > Filters)."
        )
        remarks.append(Remark(Severity.NOTE, stage, report.name, says))
    if count.unreadable:
        says = (
            f"{count.unreadable} dates could not be read, for example {count.example!r}. The site's English language "
            "pack writes dates in a way of its own; set 'strftimedaydatetime' back in Moodle."
        )
        remarks.append(Remark(Severity.WARNING, stage, report.name, says))
    if count.unrated:
        says = (
            f"{count.unrated} ratings are not on the scale of their framework, for example {count.example!r}: their "
            "level is left empty."
        )
        remarks.append(Remark(Severity.WARNING, stage, report.name, says))
    return tuple(remarks)


def _cursor(stage: str, **place: Any) -> str:
    return json.dumps({"stage": stage, **place}, separators=(",", ":"))


def _place(cursor: str | None) -> dict[str, Any]:
    """Return what a cursor says; a pull starts anew where it says nothing we understand."""
    try:
        found = json.loads(cursor or "{}")
    except ValueError:
        found = {}
    return {"stage": "", **found} if isinstance(found, dict) else {"stage": ""}
