"""Add the parameters of strategies."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0160"
down_revision = "0130"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply the change."""
    op.create_table("strategy_parameters",
        sa.Column("user_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("strategy", sa.String(length=128), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("changed_by", sa.String(length=64), nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_strategy_parameters_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "strategy", "name", name="pk_strategy_parameters")
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("strategy_parameters")
