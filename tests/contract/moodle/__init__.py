"""The Moodle connector against the simulated site."""
