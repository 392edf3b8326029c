"""Stand-ins for real servers, for demonstrations and tests."""
