"""The page about the files says what the reader does."""

import re
from pathlib import Path

import pytest

from mappings.architecture import FILES, FileSpec

PAGE = (Path(__file__).parents[3] / "docs" / "architecture-files.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("spec", FILES, ids=lambda spec: spec.name)
def test_every_column_of_every_file_is_documented_as_it_is(spec: FileSpec) -> None:
    """In the order of the columns, with whether it must be there."""
    section = re.split(r"\n#", PAGE.split(f"\n### {spec.name}\n")[1])[0]
    documented = re.findall(r"^\| `(\w+)` \| (yes|no) \|", section, re.MULTILINE)
    assert documented == [(column.name, "yes" if column.required else "no") for column in spec.columns]


@pytest.mark.parametrize("spec", FILES, ids=lambda spec: spec.name)
def test_no_header_means_two_columns_of_a_file(spec: FileSpec) -> None:
    """Neither its name nor an alias."""
    meanings = [name for column in spec.columns for name in {column.name, *column.aliases}]
    assert len(meanings) == len(set(meanings))
