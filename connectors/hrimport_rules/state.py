"""What a site holds, as far as HR Import looks at it: hierarchies, accounts and job assignments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from connectors.hrimport_rules.settings import HIERARCHIES, CustomField


class Item:
    """An organisation, position or competency."""

    __slots__ = ("fields", "framework", "id", "idnumber", "parent", "timemodified", "totarasync", "type")

    def __init__(self, number: int, idnumber: str, framework: str) -> None:
        self.id = number
        self.idnumber = idnumber
        self.framework = framework
        self.parent: Item | None = None
        self.type = ""
        self.timemodified = 0
        self.totarasync = True
        # Everything the rules do not look at (names, custom fields); None where nobody asks for it.
        self.fields: dict[str, Any] | None = None

    def path(self) -> list[Item]:
        """From the root down to the item itself."""
        chain: list[Item] = []
        item: Item | None = self
        while item is not None and item not in chain:
            chain.append(item)
            item = item.parent
        return chain[::-1]


class Hierarchy:
    """All items of one kind with the frameworks, types and custom fields the site defines for them."""

    def __init__(self) -> None:
        self.frameworks: dict[str, int] = {}
        # Type idnumber -> custom field short name -> definition.
        self.types: dict[str, dict[str, CustomField]] = {}
        self.items: dict[int, Item] = {}
        self.by_idnumber: dict[str, Item] = {}
        self._next = 1

    def add_framework(self, idnumber: str) -> None:
        """Define a framework (on a real site: by hand)."""
        self.frameworks.setdefault(idnumber, len(self.frameworks) + 1)

    def add(self, idnumber: str, framework: str) -> Item:
        """A new root item, owned by HR Import until said otherwise."""
        item = Item(self._next, idnumber, framework)
        self._next += 1
        self.items[item.id] = item
        self.by_idnumber.setdefault(idnumber, item)
        return item

    def children(self) -> dict[int, list[Item]]:
        """The items directly under each item, by the parent's id."""
        found: dict[int, list[Item]] = {}
        for item in self.items.values():
            if item.parent is not None:
                found.setdefault(item.parent.id, []).append(item)
        return found

    def subtree(self, item: Item, children: dict[int, list[Item]] | None = None) -> list[Item]:
        """The item and everything below it, in order of id."""
        below = self.children() if children is None else children
        found = {item.id: item}
        queue = [item]
        for member in queue:
            for child in below.get(member.id, ()):
                if child.id not in found:
                    found[child.id] = child
                    queue.append(child)
        return [found[number] for number in sorted(found)]

    def remove(self, members: list[Item]) -> None:
        """Take items away."""
        for member in members:
            self.items.pop(member.id, None)
            if self.by_idnumber.get(member.idnumber) is member:
                del self.by_idnumber[member.idnumber]


class User:
    """An account."""

    __slots__ = (
        "deleted",
        "email",
        "fields",
        "id",
        "idnumber",
        "suspended",
        "timemodified",
        "totarasync",
        "username",
    )

    def __init__(self, number: int, idnumber: str, username: str) -> None:
        self.id = number
        self.idnumber = idnumber
        self.username = username
        self.email = ""
        self.timemodified = 0
        self.totarasync = True
        self.deleted = False
        self.suspended = False
        self.fields: dict[str, Any] | None = None


class Job:
    """A job assignment; references are to live records, so that a deletion clears them."""

    __slots__ = (
        "appraiser",
        "enddate",
        "fields",
        "fullname",
        "id",
        "idnumber",
        "manager",
        "organisation",
        "position",
        "startdate",
        "tempexpiry",
        "tempmanager",
        "timemodified",
        "totarasync",
        "user",
    )

    def __init__(self, number: int, idnumber: str, user: User) -> None:
        self.id = number
        self.idnumber = idnumber
        self.user = user
        self.fullname = ""
        # None: never set; 0: blank dates stored with "empty strings erase".
        self.startdate: int | None = None
        self.enddate: int | None = None
        self.organisation: Item | None = None
        self.position: Item | None = None
        self.manager: Job | None = None
        self.tempmanager: Job | None = None
        self.tempexpiry: int | None = None
        self.appraiser: User | None = None
        self.timemodified = 0
        self.totarasync = True
        self.fields: dict[str, Any] | None = None


class SiteState:
    """A site's content. Import rules change it in place; whoever predicts builds a fresh one."""

    def __init__(self) -> None:
        self.hierarchies: dict[str, Hierarchy] = {name: Hierarchy() for name in HIERARCHIES}
        self.users: dict[int, User] = {}
        self.user_by_idnumber: dict[str, User] = {}
        self.jobs: dict[int, Job] = {}
        self.jobs_of: dict[int, list[Job]] = {}
        # Accounts HR Import refuses to delete.
        self.administrators: set[str] = {"admin"}
        self.previously_linked = False
        # Elements whose content is not known: references to them are presumed to be met.
        self.presumed: set[str] = set()
        # Users only named by job assignments, where the accounts themselves are not known.
        self.presumed_users: dict[str, User] = {}
        self._next_user = 1
        self._next_job = 1

    def hierarchy(self, element: str) -> Hierarchy:
        """The hierarchy of an element (``org``, ``pos`` or ``comp``)."""
        return self.hierarchies[element]

    # -- accounts ---------------------------------------------------------------------------------

    def add_user(self, idnumber: str, username: str) -> User:
        """A new account, owned by HR Import until said otherwise."""
        user = User(self._next_user, idnumber, username)
        self._next_user += 1
        self.users[user.id] = user
        if idnumber:
            self.user_by_idnumber.setdefault(idnumber, user)
        return user

    def delete_users(self, users: list[User], *, how: str) -> None:
        """Mark accounts deleted, free or keep their keys as the site does, and remove their jobs."""
        gone = {user.id for user in users}
        self.delete_jobs([job for user in users for job in self.jobs_of.get(user.id, ())])
        for job in self.jobs.values():
            if job.appraiser is not None and job.appraiser.id in gone:
                job.appraiser = None
        for user in users:
            user.deleted = True
            if how != "partial":
                if self.user_by_idnumber.get(user.idnumber) is user:
                    del self.user_by_idnumber[user.idnumber]
                user.idnumber = ""
                user.username = f"deleted_{user.id}"
                user.email = ""

    def reserve_user_ids(self, count: int) -> None:
        """Leave out the next ``count`` ids."""
        self._next_user += count

    def find_user(self, idnumber: str) -> User | None:
        """The account with this id number; one presumed to exist where the accounts are not known."""
        user = self.user_by_idnumber.get(idnumber)
        if user is None and idnumber and "user" in self.presumed:
            user = self.presumed_users.get(idnumber)
            if user is None:
                user = self.presumed_users[idnumber] = User(-1 - len(self.presumed_users), idnumber, "")
        return user

    def live_users(self) -> Iterator[User]:
        """Accounts that are not deleted."""
        return (user for user in self.users.values() if not user.deleted)

    # -- job assignments --------------------------------------------------------------------------

    def add_job(self, idnumber: str, user: User) -> Job:
        """A new job assignment, last in its holder's order (the first is the primary one)."""
        job = Job(self._next_job, idnumber, user)
        self._next_job += 1
        self.jobs[job.id] = job
        self.jobs_of.setdefault(user.id, []).append(job)
        return job

    def job_of(self, user: User, idnumber: str) -> Job | None:
        """The job assignment of a user by its id number."""
        for job in self.jobs_of.get(user.id, ()):
            if job.idnumber == idnumber:
                return job
        return None

    def first_job(self, user: User) -> Job | None:
        """The primary job assignment of a user."""
        jobs = self.jobs_of.get(user.id)
        return jobs[0] if jobs else None

    def delete_job(self, job: Job) -> None:
        """Remove a job assignment and clear it where it was somebody's manager."""
        self.delete_jobs([job])

    def delete_jobs(self, jobs: list[Job]) -> None:
        """Remove job assignments in one pass over the others."""
        gone = {job.id for job in jobs}
        for job in jobs:
            self.jobs.pop(job.id, None)
            own = self.jobs_of.get(job.user.id)
            if own and job in own:
                own.remove(job)
        for other in self.jobs.values():
            if other.manager is not None and other.manager.id in gone:
                other.manager = None
            if other.tempmanager is not None and other.tempmanager.id in gone:
                other.tempmanager = None
                other.tempexpiry = None

    # -- hierarchies ------------------------------------------------------------------------------

    def remove_items(self, element: str, members: list[Item]) -> None:
        """Remove items and clear them from job assignments; their descendants are the caller's to name."""
        self.hierarchy(element).remove(members)
        gone = {member.id for member in members}
        if not gone or element == "comp":
            return
        for job in self.jobs.values():
            if element == "pos":
                if job.position is not None and job.position.id in gone:
                    job.position = None
            elif job.organisation is not None and job.organisation.id in gone:
                job.organisation = None

    def sorted_jobs(self) -> list[Job]:
        """Job assignments by id."""
        return [self.jobs[number] for number in sorted(self.jobs)]
