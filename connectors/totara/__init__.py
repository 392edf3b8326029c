"""Totara, through HR Import and GraphQL."""
