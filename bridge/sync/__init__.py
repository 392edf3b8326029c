"""Diff, plan, limits, apply, journal, undo and lease: no LMS by name."""
