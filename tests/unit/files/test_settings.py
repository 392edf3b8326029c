"""Setting up a site that takes only files: what bridge.toml may say, and the command line on such a site."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bridge.cli.main import app
from bridge.ports import FixConfiguration
from bridge.settings import load_settings
from connectors.files.kinds import field_known
from connectors.files.template import column_of
from jobs.files_site import files

SETTINGS = """
[sites.academy]
kind = "files"

[sites.academy.options]
folder = "outbox"
delimiter = ";"
{options}

[sites.academy.options.files.competency]
name = "competencies.csv"

[sites.academy.options.files.competency.columns]
"Code" = "{{key}}"
"Title" = {{ value = "{{name}}", longest = 200 }}
"Parent" = "{{parent_idnumber}}"
"Live" = "{{active:Y/N}}"
{more}
"""


def _write(folder: Path, options: str = "", more: str = "") -> None:
    (folder / "bridge.toml").write_text(SETTINGS.format(options=options, more=more), encoding="utf-8")
    (folder / "outbox").mkdir(exist_ok=True)


@pytest.mark.parametrize(
    ("options", "more", "says"),
    [
        ('sftp = { host = "x", user = "y" }', "", "one of the two"),
        ('exports = "e"\nexports_sftp = { host = "x", user = "y" }', "", "Keep one of the two"),
        ('encoding = "klingon"', "", "no character encoding"),
        ('receipt = "done"', "", "{file}.ok"),
        ('taken_when = "handed_over"', "", "{stamp}"),
        ('taken_when = "perhaps"', "", "taken_when"),
        ("", '"Odd" = "{salary}"', "salary"),
        ("", '"Odd" = "{name"', "cannot be read"),
        ("", '"Odd" = "{active:Y}"', "YES/NO"),
        ("", '"Odd" = "{name} {active}"', "mixes"),
        ("", '[sites.academy.options.files.unicorn]\nname = "u.csv"\ncolumns = {}', "no such kind"),
        (
            "",
            '[sites.academy.options.files.position]\nname = "a/b.csv"\ncolumns = { A = "{key}" }',
            "cannot be the name",
        ),
        (
            "",
            '[sites.academy.options.files.position]\nname = "p.csv"\ncolumns = { A = "{name}" }',
            "one column must be {key}",
        ),
        ("", '[sites.academy.options.files.person]\nname = "p.csv"\ncolumns = { A = "{key}" }', "{active}"),
        (
            "",
            '[sites.academy.options.files.position]\nname = "competencies.csv"\ncolumns = { A = "{key}" }',
            "share a file name",
        ),
    ],
)
def test_settings_that_cannot_work_are_told_in_a_sentence(tmp_path: Path, options: str, more: str, says: str) -> None:
    """Each with the section it stands in, and what to write instead."""
    _write(tmp_path, options, more)
    settings = load_settings(tmp_path, {})
    name, site = settings.site_named("academy")
    with pytest.raises(FixConfiguration) as told:
        files(name, site, settings)
    assert says in str(told.value)
    assert "[sites.academy.options" in str(told.value)


def test_a_template_puts_texts_dates_and_words_together() -> None:
    """Text around fields, a number cuts, two words for yes and no; what is not there is nothing."""

    def written(template: str, **fields: str | bool | None) -> str:
        return column_of("H", template, field_known("person"), None, "here").cell(fields.get)

    assert written("{last_name}, {first_name}", last_name="Lee", first_name="Ann") == "Lee, Ann"
    assert written("{last_name:3}", last_name="Leeway") == "Lee"
    assert written("{active:in/out}", active=False) == "out"
    assert written("{active}", active=True) == "1"
    assert written("{{{username}}}", username="al") == "{al}"
    assert written("{email}", email=None) == ""


def test_the_command_line_works_on_such_a_site(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """check, plan, push: the file lies in the folder, the outcome is pending; once it is gone the plan is empty."""
    _write(home, more='"Words" = "{description}"')
    monkeypatch.delenv("MOODLE_URL", raising=False)
    company = str(Path(__file__).parent.parent.parent.parent / "samples" / "company")

    def run(*words: str) -> tuple[int, dict[str, object]]:
        result = CliRunner().invoke(app, [*words, "--model", company, "--json"])
        return result.exit_code, json.loads(result.stdout)

    assert run("check")[0] == 0
    code, plan = run("plan")
    assert code == 10
    assert plan["counts"] == {"competency": {"create": 2495}}
    assert run("push", "--yes", "--initial")[0] == 5
    path = home / "outbox" / "competencies.csv"
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter=";"))
    assert len(rows) == 2495
    assert {row["Live"] for row in rows} == {"Y"}
    path.unlink()
    assert run("push", "--yes")[0] == 0
    assert run("plan")[0] == 0
    assert list((home / "outbox").iterdir()) == []


def test_the_example_that_init_writes_works(tmp_path: Path) -> None:
    """Its comment signs removed, the section makes a connector."""
    template = Path(__file__).parent.parent.parent.parent / "bridge" / "cli" / "templates" / "bridge.toml"
    bare = re.sub(r"^#(?=[\[\"a-z])", "", template.read_text("utf-8"), flags=re.MULTILINE)
    (tmp_path / "bridge.toml").write_text(bare, encoding="utf-8")
    settings = load_settings(tmp_path, {"MOODLE_URL": "https://moodle.example.org"})
    name, site = settings.site_named("academy")
    port = files(name, site, settings)
    assert [one.kind for one in port.options.files] == ["person"]
    port.close()
