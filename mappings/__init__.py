"""Pure functions from feed rows and titles to canonical records."""
