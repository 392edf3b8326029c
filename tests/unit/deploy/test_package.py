"""The package that pipx and uv install holds what the source holds."""

from __future__ import annotations

import tomllib
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_every_file_that_the_program_reads_is_installed_with_it() -> None:
    """Else a command works from the source and fails where it was installed, as `init` without its templates."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]["*"]
    rooms = [ROOT / name for name in ("bridge", "connectors", "jobs", "mappings")]
    files = [
        path
        for room in rooms
        for path in room.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc", ".md") and "__pycache__" not in path.parts
    ]
    assert any(path.name == "env.example" for path in files)
    left_out = [path for path in files if not any(fnmatch(path.name, pattern) for pattern in patterns)]
    assert left_out == []
    # Files in a folder that is no package are not installed, whatever they are called.
    outside = [path for path in files if not any((up / "__init__.py").is_file() for up in path.parents if up != ROOT)]
    assert outside == []
