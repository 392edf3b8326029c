"""The files for running it for good are well-formed, run commands that there are, and set what can be set."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main

from bridge.cli.main import app
from bridge.settings import load_settings

ROOT = Path(__file__).parents[3]
TOOLS = Path(sys.executable).parent
DEPLOY = ROOT / "docs" / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
UNITS = sorted((DEPLOY / "systemd").iterdir())


def checked(*command: str | Path) -> str:
    """Run a checker and return what it says; fail with that where it finds fault."""
    done = subprocess.run([str(part) for part in command], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_dockerfile_is_sound() -> None:
    """Hadolint finds no fault, and finds one where there is one."""
    checked(TOOLS / "hadolint", "Dockerfile")
    with pytest.raises(AssertionError, match="DL3002"):
        checked("sh", "-c", f"sed 's/^USER 10001$/USER root/' Dockerfile | {TOOLS / 'hadolint'} -")


def test_the_compose_file_keeps_to_the_specification() -> None:
    """It is checked against the schema of the Compose specification."""
    checked(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_a_manifest_keeps_to_the_schemas_of_kubernetes(path: Path) -> None:
    """Unknown fields are faults too."""
    assert "passed" in checked(TOOLS / "kubernetes-validate", "--strict", path)


def test_the_units_are_sound(tmp_path: Path) -> None:
    """Systemd itself reads them, the templates with a job's name."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd on this machine; install it with: sudo apt-get install systemd")
    for unit in UNITS:
        shutil.copy(unit, tmp_path / unit.name)
        shutil.copy(unit, tmp_path / unit.name.replace("@.", "@night."))
    wanted = [tmp_path / unit.name.replace("@.", "@night.") for unit in UNITS]
    said = checked("systemd-analyze", "verify", "--man=no", *wanted)
    assert str(tmp_path) not in said, said


def commands_in(text: str) -> list[list[str]]:
    """Return the arguments that deployment files give the program."""
    found = [line.split() for line in re.findall(r"lms-bridge ((?:daemon|worker)\b[^\n]*)", text)]
    for listed in re.findall(r"(?:args|command|CMD):? \[([^\]]*)\]", text):
        arguments = [part.strip().strip('"') for part in listed.split(",")]
        if arguments[0] in ("daemon", "worker", "fleet"):
            found.append(arguments)
    return found


@pytest.mark.parametrize(
    "path", [ROOT / "Dockerfile", ROOT / "compose.yaml", *MANIFESTS, *UNITS], ids=lambda path: path.name
)
def test_what_is_run_is_a_command_of_the_program(path: Path) -> None:
    """Each command and each of its options exists."""
    program: Any = typer.main.get_command(app)
    for arguments in commands_in(path.read_text("utf-8")):
        command = program.commands[arguments[0]]
        known = {name for parameter in command.params for name in parameter.opts}
        assert [part for part in arguments[1:] if part.startswith("--") and part not in known] == []


def test_the_commands_are_found_at_all() -> None:
    """The check above looks at something."""
    texts = "".join(path.read_text("utf-8") for path in (ROOT / "Dockerfile", *MANIFESTS, *UNITS))
    assert {one[0] for one in commands_in(texts)} == {"daemon", "worker"}


def test_the_settings_of_the_manifests_can_be_read(tmp_path: Path) -> None:
    """The program takes the settings and the variables of config.yaml as they stand there."""
    text = (DEPLOY / "kubernetes" / "config.yaml").read_text("utf-8")
    settings = text.partition("bridge.toml: |\n")[2].partition("---")[0]
    lines = [line.removeprefix("    ") for line in settings.splitlines()]
    assert tomllib.loads("\n".join(lines))
    (tmp_path / "bridge.toml").write_text("\n".join(lines), "utf-8")
    secrets = dict(re.findall(r"^  (\w+): (\S+)$", text.partition("stringData:")[2], re.M))
    found = load_settings(tmp_path, secrets)
    assert found.daemon.listen == "0.0.0.0:9464"
    assert found.store.startswith("postgresql://")
    assert json.dumps(list(found.sites)) == '["academy"]'
