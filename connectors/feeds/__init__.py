"""HRIS feeds: folders and SFTP drops, read, staged and compared."""

from connectors.feeds.folder import FolderFeed
from connectors.feeds.outbox import Delivered, FolderOutbox, Outbox, SftpOutbox
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
from connectors.feeds.sftp import SftpFeed
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
    "Delivered",
    "FeedSettings",
    "FeedSource",
    "FolderFeed",
    "FolderOutbox",
    "FolderOutboxSettings",
    "FolderSettings",
    "Manifest",
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
