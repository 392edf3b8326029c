"""LMS Bridge: canonical records, ports, store and synchronisation."""
