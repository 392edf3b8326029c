"""HRIS feeds: folders and SFTP drops, read, staged and compared."""

from typing import TYPE_CHECKING, Any

from connectors.feeds.folder import FolderFeed
from connectors.feeds.outbox import Delivered, FolderOutbox, Outbox
from connectors.feeds.pgp import PgpOpener
from connectors.feeds.settings import (
    FeedSettings,
    FolderOutboxSettings,
    FolderSettings,
    Order,
    PgpSettings,
    Readiness,
    ReadyWhen,
    SftpOutboxSettings,
    SftpServer,
    SftpSettings,
)
from connectors.feeds.source import (
    Arrival,
    FeedSource,
    Manifest,
    NotYet,
    PassedOver,
    ReceivedFile,
    Seen,
    Survey,
    never_seen,
)

if TYPE_CHECKING:
    from connectors.feeds.sftp import SftpFeed
    from connectors.feeds.sftp_outbox import SftpOutbox

__all__ = [
    "Arrival",
    "Delivered",
    "FeedSettings",
    "FeedSource",
    "FolderFeed",
    "FolderOutbox",
    "FolderOutboxSettings",
    "FolderSettings",
    "Manifest",
    "NotYet",
    "Order",
    "Outbox",
    "PassedOver",
    "PgpOpener",
    "PgpSettings",
    "Readiness",
    "ReadyWhen",
    "ReceivedFile",
    "Seen",
    "SftpFeed",
    "SftpOutbox",
    "SftpOutboxSettings",
    "SftpServer",
    "SftpSettings",
    "Survey",
    "never_seen",
]


def __getattr__(name: str) -> Any:
    """Load what needs SSH only when it is asked for: commands that read folders start faster."""
    if name == "SftpFeed":
        from connectors.feeds.sftp import SftpFeed

        return SftpFeed
    if name == "SftpOutbox":
        from connectors.feeds.sftp_outbox import SftpOutbox

        return SftpOutbox
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
