"""Exchanges recorded on a Moodle 4.5.6 site, replayed against the simulator."""
