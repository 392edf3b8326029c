"""Links between two things: related competencies, and the courses that teach a competency."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bridge.model import Desired, RuleOutcome, competency_key
from bridge.ports import BridgeError, Change, Found, Item, KindSpec, Outcome, Removal, Severity, Status, outcome_of
from connectors.moodle import given
from connectors.moodle.client import Call, Fate
from connectors.moodle.directory import COURSES_BY_FIELD, GET_COURSES, LIST_COMPETENCIES, good
from connectors.moodle.given import speaks_of
from connectors.moodle.kinds import (
    OUTCOME_NAMES,
    OUTCOME_NUMBERS,
    Context,
    Part,
    adopted,
    after,
    not_sent,
    one_by_one,
    refused,
    settled,
)
from connectors.moodle.schedule import Schedule, Task

RELATED = "tool_lp_data_for_related_competencies_section"
RELATE = "core_competency_add_related_competency"
UNRELATE = "core_competency_remove_related_competency"

IN_COURSE = "core_competency_list_course_competencies"
LINK = "core_competency_add_competency_to_course"
UNLINK = "core_competency_remove_competency_from_course"
SET_OUTCOME = "core_competency_set_course_competency_ruleoutcome"


def pair_key(first: str, second: str) -> str:
    """Return the key of a pair whose order says nothing."""
    return "|".join(sorted((first, second)))


def split_key(key: str, left: Mapping[str, int], right: Mapping[str, int]) -> tuple[str, str] | None:
    """Return the two ends of a link's key, either of which may hold the bar itself; None where one is unknown."""
    places = [place for place, letter in enumerate(key) if letter == "|"]
    return next(
        ((key[:place], key[place + 1 :]) for place in places if key[:place] in left and key[place + 1 :] in right), None
    )


class RelatedPairs:
    """Related competencies of one framework."""

    spec = KindSpec("related", "related pair", "related pairs", Removal.UNLINK, relation=True)
    reads: Mapping[str, str] = {
        RELATED: "related competencies cannot be compared",
        LIST_COMPETENCIES: "related competencies cannot be compared",
    }
    writes: Mapping[str, str] = {
        RELATE: "related competencies cannot be linked",
        UNRELATE: "related competencies cannot be unlinked",
    }

    def __init__(self, context: Context) -> None:
        self._context = context

    def translate(self, desired: Desired, left_out: frozenset[str]) -> Part:
        """Return one item a pair."""
        architecture = desired.architecture
        part = Part(complete=speaks_of(architecture, given.RELATED))
        by_key = {competency.key: competency for competency in architecture.competencies}
        seen: set[str] = set()
        for pair in architecture.related:
            key = pair_key(pair.first, pair.second)
            if key in seen:
                continue
            seen.add(key)
            first, second = by_key.get(pair.first), by_key.get(pair.second)
            if first is None or second is None or left_out & {pair.first, pair.second}:
                part.complete = False
                part.remark(Severity.WARNING, "related", key, "One of the two is left out, so the pair is too.")
                continue
            if first.framework != second.framework or first.key == second.key:
                part.remark(
                    Severity.WARNING, "related", key, "Moodle relates only two competencies of one framework; left out."
                )
                continue
            part.items.append(
                Item(
                    "related",
                    key,
                    {},
                    group=first.name if first.key < second.key else second.name,
                    needs=(("competency", first.key), ("competency", second.key)),
                )
            )
        return part

    def read(self) -> Iterator[Found]:
        """Yield every pair of keyed competencies; Moodle lists them only competency by competency."""
        trees = self._context.directory.read_trees()
        nodes = [(tree, node) for tree in trees for node in tree.nodes.values() if node.idnumber]
        answers = self._context.client.read_many(
            [Call(RELATED, {"competencyid": node.id}) for _, node in nodes],
            size=self._context.options.calls_per_request,
        )
        seen: set[str] = set()
        for (tree, node), answer in zip(nodes, answers, strict=True):
            for row in good(answer)["relatedcompetencies"]:
                other = tree.nodes.get(int(row["id"]))
                if other is None or not other.idnumber:
                    continue
                key = pair_key(competency_key(tree.key, node.idnumber), competency_key(tree.key, other.idnumber))
                if key not in seen:
                    seen.add(key)
                    yield Found("related", key, {}, f"{node.id}-{other.id}")

    def write(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Relate pairs, one writer."""
        yield from self._pairs(changes, RELATE)

    def remove(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Take pairs apart; one that is apart already counts as done."""
        yield from self._pairs(changes, UNRELATE)

    def _pairs(self, changes: Sequence[Change], function: str) -> Iterator[Outcome]:
        done, changes = adopted(changes)
        yield from done
        directory = self._context.directory
        wanted = {key for change in changes for _, key in change.needs} | {
            end for change in changes for end in change.key.split("|")
        }
        ids = directory.competency_ids(wanted)
        pairs = []
        for change in changes:
            ends = split_key(change.key, ids, ids)
            if ends is None:
                yield not_sent(change, "One of the two competencies is not in Moodle (yet).")
                continue
            arguments = {"competencyid": ids[ends[0]], "relatedcompetencyid": ids[ends[1]]}
            pairs.append((change, Call(function, arguments)))
        yield from one_by_one(self._context.client, pairs)


class CourseLinks:
    """Which courses teach which competency, and what completing the course does to it."""

    spec = KindSpec("course_link", "course link", "course links", Removal.UNLINK, relation=True)
    reads: Mapping[str, str] = {
        GET_COURSES: "courses are not seen, so that competencies cannot be linked to them",
        COURSES_BY_FIELD: "courses are not found by their ID number, so that competencies cannot be linked to them",
        IN_COURSE: "links between courses and competencies cannot be compared",
    }
    writes: Mapping[str, str] = {
        LINK: "competencies cannot be linked to courses",
        UNLINK: "competencies cannot be unlinked from courses",
        SET_OUTCOME: "what a completed course does to a competency cannot be set",
    }

    def __init__(self, context: Context) -> None:
        self._context = context

    def translate(self, desired: Desired, left_out: frozenset[str]) -> Part:
        """Return one item a link."""
        architecture = desired.architecture
        part = Part(complete=speaks_of(architecture, given.COURSE_LINKS))
        known = {competency.key for competency in architecture.competencies}
        self._context.directory.wanted_courses |= {link.course for link in architecture.course_links}
        for link in architecture.course_links:
            key = f"{link.course}|{link.competency}"
            if link.competency in left_out or link.competency not in known:
                part.complete = False
                part.remark(Severity.WARNING, "course_link", key, "Its competency is left out, so the link is too.")
                continue
            part.items.append(
                Item(
                    "course_link",
                    key,
                    {"outcome": link.outcome.value},
                    group=link.course,
                    needs=(("competency", link.competency),),
                )
            )
        return part

    def read(self) -> Iterator[Found]:
        """Yield every link of a keyed competency to a course."""
        directory = self._context.directory
        keys: dict[int, str] = {
            node.id: competency_key(tree.key, node.idnumber)
            for tree in directory.read_trees()
            for node in tree.nodes.values()
            if node.idnumber
        }
        courses = directory.list_courses()
        answers = self._context.client.read_many([Call(IN_COURSE, {"id": course}) for course in courses])
        for (course, course_key), answer in zip(courses.items(), answers, strict=True):
            for row in good(answer):
                link = row["coursecompetency"]
                competency = keys.get(int(link["competencyid"]))
                if competency is not None:
                    yield Found(
                        "course_link",
                        f"{course_key}|{competency}",
                        {"outcome": OUTCOME_NAMES.get(int(link["ruleoutcome"]), str(link["ruleoutcome"]))},
                        str(link["id"]),
                        detail={"course": course, "competency": int(link["competencyid"])},
                    )

    def write(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Link, then set outcomes: a new link has the outcome *evidence* (contracts/moodle-4.5)."""
        done, changes = adopted(changes)
        yield from done
        client = self._context.client
        places, missing = self._places(changes)
        for change in missing:
            yield refused(
                change,
                "Moodle has no course with this ID number or short name, or the service account does not see it; or "
                "the competency is not there.",
            )
        fresh = [change for change in changes if change.key in places and not change.lms_id]
        linked: list[Change] = []
        tasks = [
            Task(
                change,
                change.key,
                str(places[change.key][0]),
                lambda place=places[change.key]: Call(LINK, {"courseid": place[0], "competencyid": place[1]}),  # type: ignore[misc]  # bound per turn
            )
            for change in fresh
        ]
        schedule = Schedule(client, tasks)
        for task, result in schedule.run():
            if result.fate is not Fate.DONE:
                yield settled(task.subject, result)
            else:
                linked.append(task.subject)
        if schedule.stopped is not None:
            # Linked, but the outcome was not set: told as applied it would be wrong, so it is looked up next time.
            for change in linked:
                yield outcome_of(change, Status.UNKNOWN, str(schedule.stopped))
            raise schedule.stopped
        try:
            ids = self._link_ids({places[change.key][0] for change in linked})
        except BridgeError as error:
            for change in linked:
                yield outcome_of(change, Status.UNKNOWN, str(error))
            raise
        pairs: list[tuple[Change, Call]] = []
        for change in [*linked, *(c for c in changes if c.lms_id and c.key in places)]:
            link_id, current = ids.get(places[change.key], (int(change.lms_id or 0), -1))
            wanted = OUTCOME_NUMBERS[RuleOutcome(str(after(change)["outcome"]))]
            if not link_id:
                yield refused(change, "Moodle took the link but does not show it. Look at the course's competencies.")
            elif current == wanted:
                yield outcome_of(change, Status.APPLIED, "", str(link_id))
            else:
                call = Call(SET_OUTCOME, {"coursecompetencyid": link_id, "ruleoutcome": wanted})
                pairs.append((change, call))
        yield from one_by_one(client, pairs)

    def remove(self, changes: Sequence[Change]) -> Iterator[Outcome]:
        """Unlink; what is unlinked already counts as done."""
        places, missing = self._places(changes)
        for change in missing:
            yield outcome_of(change, Status.APPLIED, "The course or the competency was no longer in Moodle.")
        yield from one_by_one(
            self._context.client,
            [
                (change, Call(UNLINK, {"courseid": places[change.key][0], "competencyid": places[change.key][1]}))
                for change in changes
                if change.key in places
            ],
        )

    def _places(self, changes: Sequence[Change]) -> tuple[dict[str, tuple[int, int]], list[Change]]:
        """Return (course, competency) ids by key, and the changes that lack one of them."""
        directory = self._context.directory
        spoken = {change.key[:place] for change in changes for place, letter in enumerate(change.key) if letter == "|"}
        if spoken - directory.courses.keys():
            directory.wanted_courses |= spoken
            directory.list_courses()
        ids = directory.competency_ids(
            {key for change in changes for _, key in change.needs}
            | {change.key[place + 1 :] for change in changes for place, c in enumerate(change.key) if c == "|"}
        )
        places: dict[str, tuple[int, int]] = {}
        missing: list[Change] = []
        for change in changes:
            if "course" in change.detail and "competency" in change.detail:
                places[change.key] = (int(str(change.detail["course"])), int(str(change.detail["competency"])))
                continue
            ends = split_key(change.key, directory.courses, ids)
            if ends is None:
                missing.append(change)
            else:
                places[change.key] = (directory.courses[ends[0]], ids[ends[1]])
        return places, missing

    def _link_ids(self, courses: set[int]) -> dict[tuple[int, int], tuple[int, int]]:
        asked = sorted(courses)
        answers = self._context.client.read_many([Call(IN_COURSE, {"id": course}) for course in asked])
        return {
            (course, int(row["coursecompetency"]["competencyid"])): (
                int(row["coursecompetency"]["id"]),
                int(row["coursecompetency"]["ruleoutcome"]),
            )
            for course, answer in zip(asked, answers, strict=True)
            for row in good(answer)
        }
