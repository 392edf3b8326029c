"""The sample company that comes with the source."""

from __future__ import annotations

from pathlib import Path

from bridge.ports import FixConfiguration
from jobs.push import read_model

COMPANY = Path(__file__).parent.parent / "samples" / "company"


def sample_company() -> Path:
    """Return the folder of the sample company. Raises FixConfiguration where only the program was installed."""
    if not COMPANY.is_dir():
        raise FixConfiguration(
            "The sample company comes with the source, not with the installed package. Name a folder with --model DIR."
        )
    return COMPANY


def sample_scales() -> list[tuple[str, list[str]]]:
    """Return the sample company's scales as (name, labels from the lowest up); none where the samples are not there."""
    if not COMPANY.is_dir():
        return []
    return [(scale.name, [item.label for item in scale.items]) for scale in read_model(COMPANY).architecture.scales]
