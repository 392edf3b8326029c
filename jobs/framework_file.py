"""Writing a framework of the model as the file that Moodle's own importer reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bridge.ports import FixConfiguration, Remark
from connectors.moodle.framework_csv import write_framework_csv
from jobs.desired import read_model


@dataclass(frozen=True, slots=True)
class Written:
    """What a framework file holds, and what the importer will not keep as it is."""

    framework: str
    name: str
    competencies: int
    remarks: tuple[Remark, ...]


def write_framework(model: Path, framework: str | None, path: Path) -> Written:
    """Write one framework of a model's folder; without a key the only one there is.

    Raises FaultyFiles, and FixConfiguration where there is no such framework, several, or the file cannot be written.
    """
    architecture = read_model(model).architecture
    there = {one.key: one.name for one in architecture.frameworks}
    if framework is None:
        if len(there) != 1:
            named = ", ".join(there) or "none"
            raise FixConfiguration(f"Which framework? The folder {model} holds: {named}. Name one.")
        framework = next(iter(there))
    try:
        remarks = write_framework_csv(architecture, framework, path)
    except OSError as error:
        raise FixConfiguration(
            f"{path} cannot be written: {error.strerror}. Choose a folder that exists and may be written to."
        ) from error
    count = sum(one.framework == framework for one in architecture.competencies)
    return Written(framework, there[framework], count, remarks)
