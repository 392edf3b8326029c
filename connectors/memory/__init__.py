"""An LMS in memory that settles at once, late, partly or never: the port, shown working."""
