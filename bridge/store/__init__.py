"""The state the bridge keeps: tables, migrations and queries."""
