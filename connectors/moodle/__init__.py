"""Moodle, over its REST web services."""

from connectors.moodle.connector import MoodleConnector
from connectors.moodle.options import MoodleOptions

__all__ = ["MoodleConnector", "MoodleOptions"]
