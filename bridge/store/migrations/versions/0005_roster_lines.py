"""Roster rows know the line of the file they come from."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rows from before have line 0: not known."""
    for table in ("roster", "waiting"):
        op.add_column(table, sa.Column("line", sa.Integer(), server_default="0", nullable=False))


def downgrade() -> None:
    """Without them."""
    for table in ("roster", "waiting"):
        op.drop_column(table, "line")
