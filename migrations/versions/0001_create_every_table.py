"""Create every table.

The tables of the symbols are taken as the code has them: their rows come from a download, so a later
revision that changes them may drop and make them anew.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from database import symbols_schema

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
MONEY = sa.Numeric(20, 6).with_variant(sa.String(32), "sqlite")


def _index(name, table, columns, unique=False, where=None):
    """CREATE INDEX, for the rows that `where` names."""
    condition = sa.text(where) if where else None
    op.create_index(
        name, table, columns, unique=unique, sqlite_where=condition, postgresql_where=condition,
    )


def upgrade() -> None:
    """Apply the change."""
    op.create_table("alarms",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("opened_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("closed_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_alarms")
    )
    _index("uq_alarms_open", "alarms", ["rule", "subject"], unique=True, where="closed_at IS NULL")

    op.create_table("audit",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit")
    )
    _index("ix_audit_at", "audit", ["at"])

    op.create_table("flags",
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("version", BIG_ID, nullable=False),
        sa.Column("changed_by", sa.String(length=64), nullable=False),
        sa.Column("changed_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_flags")
    )
    op.create_table("jobs",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("progress", sa.JSON(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("requested_by", sa.String(length=64), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("started_at", TIME, nullable=True),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("heartbeat_at", TIME, nullable=False),
        sa.Column("pid", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_jobs")
    )
    _index("ix_jobs_kind_subject", "jobs", ["kind", "subject", "id"])
    _index("uq_jobs_active", "jobs", ["kind", "subject"], unique=True,
           where="state IN ('queued', 'running')")

    op.create_table("leases",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("holder", sa.String(length=128), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_leases")
    )
    op.create_table("users",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("name_key", sa.String(length=64), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("second_factor", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("last_login_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("name_key", name="uq_users_name_key")
    )
    op.create_table("accounts",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("broker", sa.String(length=64), nullable=False),
        sa.Column("cluster", sa.String(length=32), nullable=False),
        sa.Column("account_type", sa.String(length=32), nullable=False),
        sa.Column("client_id", sa.String(length=64), nullable=False),
        sa.Column("base_url", sa.String(length=255), nullable=False),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("owner_id", BIG_ID, nullable=True),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("host_lookup", sa.Boolean(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("credentials", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("removed_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_accounts_owner_id", ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name="pk_accounts")
    )
    _index("ix_accounts_broker", "accounts", ["broker"])
    _index("uq_accounts_label", "accounts", ["label"], unique=True, where="removed_at IS NULL")

    op.create_table("api_keys",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("user_id", BIG_ID, nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("prefix", sa.String(length=8), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("scope", sa.String(length=16), nullable=False),
        sa.Column("default_account", sa.String(length=64), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("last_used_at", TIME, nullable=True),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_api_keys_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("key_hash", name="uq_api_keys_key_hash")
    )
    _index("ix_api_keys_user_id", "api_keys", ["user_id"])

    op.create_table("web_sessions",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("user_id", BIG_ID, nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("user_agent", sa.String(length=255), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("seen_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_web_sessions_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_web_sessions"),
        sa.UniqueConstraint("token_hash", name="uq_web_sessions_token_hash")
    )
    _index("ix_web_sessions_expires_at", "web_sessions", ["expires_at"])
    _index("ix_web_sessions_user_id", "web_sessions", ["user_id"])

    op.create_table("broker_logins",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("automatic", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_broker_logins_account_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_broker_logins")
    )
    _index("ix_broker_logins_account_id_at", "broker_logins", ["account_id", "at"])

    op.create_table("broker_sessions",
        sa.Column("account_id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("version", BIG_ID, nullable=False),
        sa.Column("tokens", sa.Text(), nullable=True),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("opened_at", TIME, nullable=True),
        sa.Column("expires_at", TIME, nullable=True),
        sa.Column("login_state", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_broker_sessions_account_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("account_id", name="pk_broker_sessions")
    )
    op.create_table("idempotency_keys",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("user_id", BIG_ID, nullable=False),
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("reference", sa.String(length=40), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", sa.Text(), nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_idempotency_keys_account_id", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_idempotency_keys_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_idempotency_keys"),
        sa.UniqueConstraint("user_id", "account_id", "key", name="uq_idempotency_keys_user_id_account_id_key")
    )
    _index("ix_idempotency_keys_expires_at", "idempotency_keys", ["expires_at"])

    op.create_table("order_intents",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("reference", sa.String(length=40), nullable=False),
        sa.Column("tag", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("account_id", BIG_ID, nullable=False),
        sa.Column("user_id", BIG_ID, nullable=True),
        sa.Column("key_id", BIG_ID, nullable=True),
        sa.Column("strategy", sa.String(length=255), nullable=False),
        sa.Column("origin", sa.String(length=10), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("client_order_id", sa.String(length=160), nullable=True),
        sa.Column("parent_reference", sa.String(length=40), nullable=True),
        sa.Column("child_index", sa.Integer(), nullable=True),
        sa.Column("target_order_id", sa.String(length=64), nullable=False),
        sa.Column("symbol", sa.String(length=64), nullable=False),
        sa.Column("exchange", sa.String(length=16), nullable=False),
        sa.Column("token", sa.String(length=32), nullable=False),
        sa.Column("side", sa.String(length=4), nullable=False),
        sa.Column("order_type", sa.String(length=16), nullable=False),
        sa.Column("product", sa.String(length=8), nullable=False),
        sa.Column("validity", sa.String(length=8), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("price", MONEY, nullable=False),
        sa.Column("trigger_price", MONEY, nullable=False),
        sa.Column("disclosed_quantity", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("broker_order_id", sa.String(length=64), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("sent_at", TIME, nullable=True),
        sa.Column("deadline_at", TIME, nullable=True),
        sa.Column("seen_at", TIME, nullable=True),
        sa.Column("book_state", sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name="fk_order_intents_account_id", ondelete="RESTRICT"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_order_intents_user_id", ondelete="RESTRICT"),
        sa.PrimaryKeyConstraint("id", name="pk_order_intents"),
        sa.UniqueConstraint("reference", name="uq_order_intents_reference")
    )
    _index("ix_order_intents_account_created", "order_intents", ["account_id", "created_at"])
    _index("ix_order_intents_broker_order_id", "order_intents", ["broker_order_id"], where="broker_order_id IS NOT NULL")
    _index("ix_order_intents_client_order_id", "order_intents", ["client_order_id"], where="client_order_id IS NOT NULL")
    _index("ix_order_intents_parent_reference", "order_intents", ["parent_reference"], where="parent_reference IS NOT NULL")
    _index("ix_order_intents_unsettled", "order_intents", ["state"],
           where="state IN ('received', 'sending', 'unknown')")
    _index("uq_order_intents_tag", "order_intents", ["tag"], unique=True, where="tag <> ''")

    op.create_table("order_events",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("intent_id", BIG_ID, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("cause", sa.String(length=64), nullable=False),
        sa.Column("broker_order_id", sa.String(length=64), nullable=True),
        sa.Column("message", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["intent_id"], ["order_intents.id"], name="fk_order_events_intent_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="pk_order_events")
    )
    _index("ix_order_events_intent_id", "order_events", ["intent_id"])
    if op.get_context().dialect.name == "postgresql":  # on SQLite they have a file of their own
        for statement in symbols_schema.postgres_sql():
            op.execute(statement)


def downgrade() -> None:
    """Take the change back."""
    op.drop_table("order_events")
    op.drop_table("order_intents")
    op.drop_table("idempotency_keys")
    op.drop_table("broker_sessions")
    op.drop_table("broker_logins")
    op.drop_table("web_sessions")
    op.drop_table("api_keys")
    op.drop_table("accounts")
    op.drop_table("users")
    op.drop_table("leases")
    op.drop_table("jobs")
    op.drop_table("flags")
    op.drop_table("audit")
    op.drop_table("alarms")
    if op.get_context().dialect.name == "postgresql":
        for table in ("symbol_token", "symbol_generation", "symbol_search"):
            op.execute(f"DROP TABLE IF EXISTS {table}")
