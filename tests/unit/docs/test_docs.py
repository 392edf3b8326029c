"""What the documents say is what the program does."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main

from bridge.cli.main import app
from bridge.feed_settings import ColumnRule, FeedSettings, PgpOptions, TrustSettings
from bridge.settings import Environment, FileSettings
from connectors.moodle import MoodleOptions

ROOT = Path(__file__).parent.parent.parent.parent
TRACKED = [
    ROOT / name
    for name in subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    if name
]
PAGES = [path for path in TRACKED if path.suffix == ".md"]


def commands() -> list[tuple[str, Any]]:
    """Return every command with its full name, groups included."""

    def walk(command: Any, name: str) -> list[tuple[str, Any]]:
        inner = getattr(command, "commands", {})
        return [
            (name, command),
            *(one for child, found in inner.items() for one in walk(found, f"{name} {child}".strip())),
        ]

    return walk(typer.main.get_command(app), "")[1:]


@pytest.mark.parametrize(("name", "command"), commands())
def test_every_command_and_option_says_what_it_does(name: str, command: Any) -> None:
    """A command without help, or an option without, is not finished."""
    assert (command.help or "").strip(), name
    for parameter in command.params:
        if parameter.opts[0].startswith("-"):
            assert (parameter.help or "").strip(), f"{name} {parameter.opts}"


@pytest.mark.parametrize("name", [name for name, command in commands() if not getattr(command, "commands", {})])
def test_every_command_is_in_the_readme_or_a_page_of_the_documentation(name: str) -> None:
    """A command that no page names is one that nobody finds."""
    assert any(f"lms-bridge {name}" in page.read_text("utf-8") for page in PAGES)


def test_every_command_that_a_page_names_exists() -> None:
    """A page does not promise what the program has not."""
    known = {name for name, _ in commands()}
    for page in PAGES:
        for line in page.read_text("utf-8").splitlines():
            for named in re.findall(r"`lms-bridge ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)", line):
                words = named.split()
                assert words[0] in known, f"{page.name}: lms-bridge {named}"


def test_the_example_environment_lists_every_variable_and_is_what_init_writes() -> None:
    """One text, in two places that a test keeps equal."""
    text = (ROOT / "config.example.env").read_text("utf-8")
    assert text == (ROOT / "bridge" / "cli" / "templates" / "env.example").read_text("utf-8")
    for name in Environment.model_fields:
        assert re.search(rf"^#?{name.upper()}=", text, re.MULTILINE), name


def test_the_example_settings_are_valid_once_uncommented() -> None:
    """Whoever removes the comment signs gets settings that work."""
    text = (ROOT / "bridge" / "cli" / "templates" / "bridge.toml").read_text("utf-8")
    bare = re.sub(r"^#(?=[\[\"a-z])", "", text, flags=re.MULTILINE)
    settings = FileSettings.model_validate(tomllib.loads(bare))
    assert settings.sites


def test_every_setting_of_a_feed_is_told_of_and_every_example_of_one_is_valid() -> None:
    """What the pages on feeds show can be copied, and no setting is a secret."""
    pages = [(ROOT / "docs" / name).read_text("utf-8") for name in ("feeds.md", "feeds-delivery.md")]
    text = "\n".join(pages)
    blocks = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(blocks) >= 5
    for block in blocks:
        whole = block if block.startswith("[") else f"[feeds.hr]\n{block}"
        assert FileSettings.model_validate(tomllib.loads(whole.replace("1234 ...", "1234"))).feeds
    told = set(re.findall(r"\w+", text))
    for model in (FeedSettings, TrustSettings, ColumnRule, PgpOptions):
        for name in model.model_fields:
            assert name.rstrip("_") in told, f"{model.__name__}.{name} is told of nowhere"


def test_the_options_of_a_moodle_site_are_explained_with_their_true_defaults() -> None:
    """What the table names exists and has that default; the options about people have their own page."""
    page = (ROOT / "docs" / "moodle.md").read_text("utf-8").partition("## Options")[2].partition("\n## ")[0]
    options = {spec.name: spec.default for spec in dataclasses.fields(MoodleOptions)}
    rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("| `")]
    explained = {name: said.strip(" `") for names, said, _ in rows for name in re.findall(r"`(\w+)`", names)}
    assert explained.keys() <= options.keys()
    for name, said in explained.items():
        if isinstance(options[name], bool | int | float):
            true = str(options[name]).lower() if isinstance(options[name], bool) else f"{options[name]:g}"
            assert (name, said) == (name, true)
    people = next(place for place, name in enumerate(options) if name == "create_users")
    assert set(list(options)[:people]) - {"url", "token"} <= explained.keys()


@pytest.mark.parametrize(("name", "command"), [(n, c) for n, c in commands() if not getattr(c, "commands", {})])
def test_every_command_speaks_to_programs(name: str, command: Any) -> None:
    """Each takes `--json`, but for one whose only output is JSON, and one that only writes a log."""
    options = {option for parameter in command.params for option in parameter.opts}
    assert "--json" in options or name in ("titles score", "worker")


def test_links_between_pages_lead_somewhere() -> None:
    """A relative link names a file that is there."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text("utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_changelog_has_one_sentence_a_line() -> None:
    """Each entry is one line that ends with a full stop."""
    for line in (ROOT / "CHANGELOG.md").read_text("utf-8").splitlines():
        if line.startswith("- "):
            assert line.endswith("."), line


def test_no_file_carries_a_path_or_an_address_of_somebodys_machine() -> None:
    """Home folders, work folders and package registries have no place in the project."""
    forbidden = re.compile(r"(?<![\w.-])/(?:work|root|home/[a-z]+)/\w|pypi\.|pythonhosted|registry\.npmjs|deb\.debian")
    for path in TRACKED:
        if path.suffix in {".py", ".md", ".toml", ".env", ".txt", ".cfg", ".ini", ""} and path.is_file():
            text = path.read_text("utf-8", errors="ignore")
            found = None if path == Path(__file__) else forbidden.search(text)
            assert found is None, f"{path.relative_to(ROOT)}: {found}"
