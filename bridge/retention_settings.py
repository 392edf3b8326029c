"""How long things are kept: `[retention]` in bridge.toml, in days. 0 keeps them until somebody removes them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Days = Annotated[int, Field(ge=0)]

DAY = 86_400.0
"""Seconds."""


class RetentionSettings(BaseModel):
    """Days after which something expires."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    archives: Days = 0
    """Files that were taken over, in the archives of feeds; counted from when the sender wrote them."""
    rejections: Days = 180
    """What was found in rows of files, once a later file was accepted."""
    inbox: Days = 14
    """Whole files that a program which died left in the inbox."""
    backups: Days = 90
    """Backups in the bridge's own folder of backups; the newest stay however old they are."""
    runs: Days = 400
    """Records of runs, what each sent, and by that how far back they can be undone."""
    deliveries: Days = 1100
    """That a file came, when, and what became of it: by this one that comes again is recognised."""
    results: Days = 0
    """Results that have vanished from the LMS, and what results said before they changed."""

    def before(self, what: str, now: float) -> float | None:
        """Return the moment (UTC epoch seconds) before which something has expired; None where it is kept."""
        days: int = getattr(self, what)
        return now - days * DAY if days else None
