"""Create the tables of the daily figures, of grouped errors and of deployments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0170"
down_revision = "0001"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply the change."""
    op.create_table("figures",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("name", sa.String(length=48), nullable=False),
        sa.Column("label", sa.String(length=128), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("day", "name", "label", name="pk_figures")
    )
    op.create_table("failures",
        sa.Column("fingerprint", sa.String(length=16), nullable=False),
        sa.Column("kind", sa.String(length=128), nullable=False),
        sa.Column("place", sa.String(length=255), nullable=False),
        sa.Column("trail", sa.Text(), nullable=False),
        sa.Column("seen", BIG_ID, nullable=False),
        sa.Column("first_at", TIME, nullable=False),
        sa.Column("last_at", TIME, nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name="pk_failures")
    )
    op.create_index("ix_failures_last_at", "failures", ["last_at"])
    op.create_table("deployments",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("environment", sa.String(length=16), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("note", sa.String(length=255), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_deployments")
    )
    op.create_index("ix_deployments_at", "deployments", ["at"])


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("deployments")
    op.drop_table("failures")
    op.drop_table("figures")
