"""Nights that go wrong: who is left alone for how long, who is told what and how often, and how all is well again."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest

from bridge.store import journal
from jobs.chain import POSTPONED, SKIPPED
from jobs.check import check
from jobs.sites import workplace
from tests.acceptance.program import COMPANY, rows, write_rows
from tests.unit.daemon.nights import DAY, HOUR, TOML, free_port, inbox, mailbox, nights


def test_a_token_that_is_refused_opens_the_circuit_until_it_is_mended(tmp_path: Path) -> None:
    """One try, then one a day; people are told once, with what to do; mended, it recovers by itself and says so."""
    with inbox() as arrived, nights(tmp_path, arrived.address) as night:
        assert night.fire()["moodle"].state == "done"
        night.moodle.faults.add("invalidtoken")
        night.now += HOUR
        assert night.fire()["moodle"].state == "failed"
        trouble = night.trouble()
        assert trouble is not None
        assert trouble.open
        asked = night.moodle.requests.total
        for _ in range(21):
            night.now += HOUR
            assert night.fire()["moodle"].steps[0].state == SKIPPED
            night.tell()
        assert night.moodle.requests.total == asked
        assert len(arrived.messages) == 1
        assert "does not let the bridge in" in arrived.texts[0]
        assert "What to do: Renew the token" in arrived.texts[0]
        night.now += HOUR
        assert night.fire()["moodle"].state == "failed"
        assert night.moodle.requests.total > asked
        night.moodle.faults.clear()
        night.now += DAY
        night.tell()
        assert night.fire()["moodle"].state == "done"
        assert night.trouble() is None
        night.now += HOUR
        night.tell()
        assert "WELL AGAIN" in arrived.texts[-1]
        assert "Works again. It had failed 2 times in a row since" in arrived.texts[-1]


def test_a_failing_site_slows_down_to_once_a_day_with_a_message_and_comes_back_by_itself(tmp_path: Path) -> None:
    """Asked every hour for five days: tries grow rarer, messages are few, and the first good run heals."""
    with inbox() as arrived, nights(tmp_path, arrived.address) as night:
        shutil.move(tmp_path / "model", tmp_path / "away")
        tried = []
        for hour in range(5 * 24):
            if night.fire()["moodle"].steps[0].state != SKIPPED:
                tried.append(hour)
            night.tell()
            night.now += HOUR
        assert tried[:5] == [0, 1, 2, 6, 28]
        assert all(later - one == 22 for one, later in pairwise(tried[3:]))
        assert len(arrived.messages) <= 8
        slowed = [text for text in arrived.texts if "from now on it is tried once a day" in text]
        assert len(slowed) == 1
        shutil.move(tmp_path / "away", tmp_path / "model")
        night.now += DAY
        assert night.fire()["moodle"].state == "done"
        night.now += HOUR
        night.tell()
        assert "Works again." in arrived.texts[-1]
        night.now += HOUR
        assert night.fire()["moodle"].state == "done"


def test_a_persons_own_good_run_ends_the_trouble_at_once(tmp_path: Path) -> None:
    """Whoever mends it and pushes by hand need not wait for the next try."""
    from jobs.push import Wish, push
    from jobs.sites import workplace

    with inbox() as arrived, nights(tmp_path, arrived.address) as night:
        night.moodle.faults.add("invalidtoken")
        assert night.fire()["moodle"].state == "failed"
        night.moodle.faults.clear()
        night.now += 60
        with workplace(night.settings, "moodle") as place:
            push(place, Wish(), night.clock)
        night.now += HOUR
        assert night.fire()["moodle"].state == "done"
        assert night.trouble() is None


def test_what_fails_together_is_told_in_one_message(tmp_path: Path) -> None:
    """Twelve sites fail in the same minute; one message arrives, and none in the quarter of an hour after it."""
    sites = tuple(f"site{number:02}" for number in range(12))
    with inbox() as arrived, nights(tmp_path, arrived.address, sites=sites) as night:
        shutil.rmtree(tmp_path / "model")
        assert {end.state for end in night.fire().values()} == {"failed"}
        assert night.tell() == 0
        night.now += 61
        assert night.tell() == 12
        night.now += 61
        assert night.tell() == 0
        assert len(arrived.messages) == 1
        assert "12 failed" in arrived.messages[0]["title"]
        assert all(f"- {site}: The push failed" in arrived.texts[0] for site in sites)


def test_a_clock_that_was_years_ahead_for_a_moment_stops_nothing(tmp_path: Path) -> None:
    """A failure and a message from the wrong time keep neither the site nor the next message waiting."""
    with inbox() as arrived, nights(tmp_path, arrived.address) as night:
        shutil.move(tmp_path / "model", tmp_path / "away")
        night.now += 4000 * DAY
        assert night.fire()["moodle"].state == "failed"
        night.now += 61
        assert night.tell() == 1
        night.now -= 4000 * DAY
        assert night.fire()["moodle"].state == "failed"
        shutil.move(tmp_path / "away", tmp_path / "model")
        night.now += DAY
        assert night.fire()["moodle"].state == "done"
        night.now += HOUR
        night.tell()
        assert "Works again" in arrived.texts[-1]


def test_a_refusal_by_a_limit_is_told_and_is_no_failure_of_the_site(tmp_path: Path) -> None:
    """The message names the limit and what to look at; the site is tried again at its next time."""
    limits = '\n[sites.moodle.limits]\n"competency.create" = { number = 5 }\n'
    with inbox() as arrived, nights(tmp_path, arrived.address) as night:
        text = (tmp_path / "bridge.toml").read_text("utf-8")
        (tmp_path / "bridge.toml").write_text(text + limits, "utf-8")
        night.settings = night.load()
        assert night.fire()["moodle"].state == "refused"
        assert night.trouble() is None
        night.now += 61
        night.tell()
        assert "REFUSED BY A LIMIT" in arrived.texts[0]
        assert "lms-bridge plan --site moodle" in arrived.texts[0]
        assert len(night.moodle.db.competencies.rows) == 0


def test_quarantine_and_titles_without_a_position_are_told_and_the_release_too(tmp_path: Path) -> None:
    """A file with hardly anybody in it goes into quarantine: nothing is pushed; a good one follows and is told of."""
    feed = '\n[feeds.hr]\npath = "in"\ninterval = 0\n[schedules.night]\ncron = "0 1 * * *"\nrun = ["ingest", "push"]\n'
    people = rows(COMPANY / "hris_people_day1.csv")[:40]
    (tmp_path / "in").mkdir()
    with inbox() as arrived, nights(tmp_path, arrived.address, TOML + feed) as night:
        write_rows(tmp_path / "in" / "people-2026-05-01.csv", people)
        assert night.fire("night")["moodle"].state == "done"
        night.now += DAY
        night.tell()
        assert "TITLES WITHOUT A POSITION" in arrived.texts[0]
        write_rows(tmp_path / "in" / "people-2026-05-02.csv", people[:3])
        end = night.fire("night")["moodle"]
        assert end.state == "quarantined"
        assert [one.step for one in end.steps] == ["ingest"]
        night.now += DAY
        night.tell()
        assert "IN QUARANTINE" in arrived.texts[-1]
        assert "lms-bridge feed release hr --reason TEXT" in arrived.texts[-1]
        (tmp_path / "in" / "people-2026-05-02.csv").unlink()
        write_rows(tmp_path / "in" / "people-2026-05-03.csv", people)
        assert night.fire("night")["moodle"].state == "done"
        night.now += DAY
        night.tell()
        assert "Feed hr is out of quarantine" in arrived.texts[-1]


def test_a_message_that_does_not_get_through_is_kept_and_sent_later(tmp_path: Path) -> None:
    """Nobody misses a failure because the mail server was down."""
    with inbox() as arrived, nights(tmp_path, arrived.address) as night:
        shutil.rmtree(tmp_path / "model")
        night.fire()
        arrived.broken = True
        night.now += 61
        assert night.tell() == 0
        arrived.broken = False
        assert night.tell() == 1
        assert "The push failed" in arrived.texts[0]


def test_a_message_arrives_as_mail(tmp_path: Path) -> None:
    """An address of the mailto kind reaches a real mail server."""
    with mailbox() as box:
        address = f"mailto://127.0.0.1:{box.port}?from=bridge@example.org&to=it@example.org"
        with nights(tmp_path, address) as night:
            shutil.rmtree(tmp_path / "model")
            night.fire()
            night.now += 61
            assert night.tell() == 1
    assert len(box.letters) == 1
    assert "The push failed" in box.letters[0]


def test_a_chain_that_reaches_a_blackout_lays_down_the_rest(tmp_path: Path) -> None:
    """What would begin in a blackout is put off to its end."""
    blackout = TOML.replace("[daemon]\n", '[daemon]\nblackouts = [{ from = "00:00", to = "23:59" }]\n')
    with nights(tmp_path, f"json://127.0.0.1:{free_port()}/", blackout) as night:
        end = night.fire()["moodle"]
        assert end.state == POSTPONED
        assert end.left == ("push", "report")
        assert end.resume_at is not None
        assert night.moodle.requests.total == 0


def test_the_report_tells_of_a_push_that_failed(tmp_path: Path) -> None:
    """A chain goes on only after good steps, but its report is written in any case, for its owner alone."""
    few = TOML.replace("[daemon]\n", "[daemon]\nreports_kept = 2\n")
    with nights(tmp_path, f"json://127.0.0.1:{free_port()}/", few) as night:
        shutil.rmtree(tmp_path / "model")
        for _ in range(3):
            end = night.fire()["moodle"]
            night.now += DAY
        assert [one.step for one in end.steps] == ["push", "report"]
        written = sorted((tmp_path / ".lms-bridge" / "reports" / "moodle").iterdir())
        assert len(written) == 2
        assert "**push**: failed" in written[-1].read_text("utf-8")
        assert written[-1].stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ('to = ["mailto://user:secret@example.org"]', "write it as env:NAME"),
        ('to = ["env:NOTHING"]', "the variable NOTHING is not set"),
    ],
)
def test_an_address_itself_in_the_settings_is_refused_in_words(tmp_path: Path, given: str, says: str) -> None:
    """Addresses hold passwords: bridge.toml only says where they are."""
    from bridge.ports import FixConfiguration

    toml = TOML.replace('to = ["env:NOTIFY"]', given)
    with pytest.raises(FixConfiguration, match=says), nights(tmp_path, "x", toml):
        pass


@pytest.mark.parametrize("kind", ["invalidtoken", "accessexception"])
def test_a_token_that_ends_in_the_middle_of_a_push_opens_the_circuit_at_once(tmp_path: Path, kind: str) -> None:
    """No second try that night, neither by this chain nor by the next; one message with what to do; a check that gets
    in lets the next one try, which takes up what was unclear and sends nothing twice."""
    chain = TOML.replace('run = ["push", "report"]', 'run = ["push", "report"]\n\n[schedules.results]\n')
    chain += 'cron = "30 * * * *"\nrun = "pull"\n'
    with inbox() as arrived, nights(tmp_path, arrived.address, chain) as night:
        writes = "core_competency_create_competency"
        ended = night.moodle.faults.add(kind, function=writes, count=None)
        end = night.fire()["moodle"]
        assert [(one.step, one.state) for one in end.steps] == [("push", "failed"), ("report", "done")]
        trouble = night.trouble()
        assert trouble is not None
        assert (trouble.open, trouble.failures) == (True, 1)
        with night.store.read() as connection:
            (run,) = journal.runs(connection, "moodle")
        assert run.state == "stopped"
        asked = night.moodle.requests.total
        for schedule in ("results", "hourly"):
            night.now += HOUR
            assert night.fire(schedule)["moodle"].steps[0].state == SKIPPED
            night.tell()
        assert night.moodle.requests.total == asked
        assert 1 <= ended.fired <= 4, "no more than were under way on the site's connections"
        (told,) = arrived.texts
        assert "The LMS does not let the bridge in (push)." in told
        assert "What to do: Renew the token" in told
        assert "lms-bridge check --site moodle" in told
        night.moodle.faults.clear()
        with workplace(night.settings, "moodle", {}) as place:
            assert check(place, None, night.clock).tried_again
            assert not check(place, None, night.clock).tried_again
        night.now += HOUR
        assert night.fire()["moodle"].state == "done"
        night.now += HOUR
        night.tell()
        assert "Works again. It had failed once on" in arrived.texts[-1]
        assert night.fire()["moodle"].steps[0].message == "nothing to do"


def test_a_token_that_ends_in_the_middle_of_a_pull_opens_the_circuit_at_once(tmp_path: Path) -> None:
    """As in a push: one try, and what had come until then is kept."""
    pulling = TOML.replace('run = ["push", "report"]', 'run = "pull"')
    with inbox() as arrived, nights(tmp_path, arrived.address, pulling) as night:
        night.moodle.faults.add("invalidtoken", start=3, count=None)
        assert night.fire()["moodle"].state == "failed"
        trouble = night.trouble()
        assert trouble is not None
        assert (trouble.open, trouble.failures) == (True, 1)
