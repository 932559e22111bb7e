"""Add the risk limits of single accounts, and the best result of each trading day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0130"
down_revision = "0170"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
MONEY = sa.Numeric(20, 6).with_variant(sa.String(32), "sqlite")


def upgrade() -> None:
    """Apply the change."""
    op.create_table("risk_limits",
        sa.Column("account_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("limits", sa.JSON(), nullable=False),
        sa.Column("changed_by", sa.String(length=64), nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_risk_limits_account_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("account_id", name="pk_risk_limits")
    )
    op.create_table("risk_days",
        sa.Column("account_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("best", MONEY, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_risk_days_account_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("account_id", "day", name="pk_risk_days")
    )


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("risk_days")
    op.drop_table("risk_limits")
