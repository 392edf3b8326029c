"""HRIS feeds: folders and SFTP drops, read, staged and compared."""

from connectors.feeds.folder import FolderFeed
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
    PassedOver,
    ReceivedFile,
    Seen,
    Survey,
    never_seen,
)

__all__ = [
    "Arrival",
    "FeedSettings",
    "FeedSource",
    "FolderFeed",
    "FolderOutboxSettings",
    "FolderSettings",
    "Manifest",
    "Order",
    "PassedOver",
    "PgpSettings",
    "Readiness",
    "ReadyWhen",
    "ReceivedFile",
    "Seen",
    "SftpOutboxSettings",
    "SftpServer",
    "SftpSettings",
    "Survey",
    "never_seen",
]
