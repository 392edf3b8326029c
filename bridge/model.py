"""The canonical records."""
