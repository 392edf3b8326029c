"""Connectors: what talks to learning systems, HR feeds and their stand-ins."""
