"""People, cohorts and plans in a simulated Moodle."""
