"""Users, keys, web sessions, accounts and broker sessions: found, refused, sealed and wiped."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import pytest
import sqlalchemy as sa
from argon2 import extract_parameters
from argon2.profiles import RFC_9106_LOW_MEMORY

from broker.models import Secret, Session
from database import accounts, broker_sessions, crypto, users
from database.accounts import NewAccount
from database.crypto import Vault
from database.engine import Database
from database.errors import AlreadyExists, NoSuchRow
from tests.support.databases import NOON, VAULT, add_account, add_user
from utils.config import ROOT

HOUR = timedelta(hours=1)


def everything(database: Database) -> str:
    """All that the database holds, as text."""
    with database.read() as conn:
        names = sa.inspect(conn).get_table_names()
        return repr([conn.execute(sa.text(f"SELECT * FROM {name}")).all() for name in names])


class TestUsers:
    def test_a_name_is_taken_in_any_case_of_letters(self, database: Database) -> None:
        with database.read() as conn:
            assert not users.has_users(conn)
        first = add_user(database, "Asha")
        with pytest.raises(AlreadyExists), database.write() as conn:
            users.create_user(conn, "ASHA", "hash", at=NOON)
        with database.read() as conn:
            assert users.has_users(conn)
            found = users.find_user(conn, "asha")
            assert found is not None and found.id == first and found.name == "Asha"
            assert users.get_user(conn, first) == found
            assert users.get_user(conn, first + 1) is None
            assert users.list_users(conn) == [found]

    def test_changes_are_stored(self, database: Database, user_id: int) -> None:
        with database.write() as conn:
            users.set_password(conn, user_id, "another hash")
            users.set_admin(conn, user_id, True)
            users.set_email(conn, user_id, "asha@example.org")
            users.set_second_factor(conn, user_id, "sealed")
            users.note_login(conn, user_id, at=NOON + HOUR)
        with database.read() as conn:
            found = users.get_user(conn, user_id)
            assert found is not None
            assert (found.is_admin, found.email, found.last_login_at) == (
                True, "asha@example.org", NOON + HOUR
            )
            assert users.password_hash_of(conn, user_id) == "another hash"
            assert users.second_factor_of(conn, user_id) == "sealed"

    def test_a_change_of_nobody_is_an_error(self, database: Database) -> None:
        with pytest.raises(NoSuchRow), database.write() as conn:
            users.set_password(conn, 99, "hash")
        with pytest.raises(NoSuchRow), database.read() as conn:
            users.password_hash_of(conn, 99)


class TestKeys:
    def test_a_key_is_found_by_its_hash_until_revoked(
        self, database: Database, user_id: int
    ) -> None:
        plain = users.new_api_key()
        hashed = crypto.hash_api_key(plain, "pepper")
        assert len(plain) == 64 and plain != users.new_api_key()
        with database.write() as conn:
            made = users.create_api_key(
                conn, user_id, plain, hashed, at=NOON, name="algo", default_account="prop-c"
            )
        with database.read() as conn:
            assert users.find_key(conn, hashed) == made == users.get_key(conn, made.id)
            assert users.find_key(conn, crypto.hash_api_key(plain, "other pepper")) is None
            assert users.list_keys(conn, user_id) == users.list_keys(conn) == [made]
        assert plain not in everything(database)
        with database.write() as conn:
            assert users.revoke_key(conn, made.id, at=NOON)
            assert not users.revoke_key(conn, made.id, at=NOON)
            assert users.find_key(conn, hashed) is None
            assert users.list_keys(conn, user_id)[0].revoked_at == NOON

    def test_a_disabled_user_has_no_keys_and_no_sessions(
        self, database: Database, user_id: int
    ) -> None:
        with database.write() as conn:
            users.create_api_key(conn, user_id, "p" * 64, "h" * 64, at=NOON)
            users.create_web_session(conn, user_id, "t" * 64, at=NOON, expires_at=NOON + HOUR)
            users.set_enabled(conn, user_id, False)
            assert users.find_key(conn, "h" * 64) is None
            assert users.find_web_session(conn, "t" * 64, at=NOON) is None
            users.set_enabled(conn, user_id, True)
            assert users.find_key(conn, "h" * 64) is not None


class TestWebSessions:
    def test_a_session_lives_until_it_expires_or_is_ended(
        self, database: Database, user_id: int
    ) -> None:
        with database.write() as conn:
            made = users.create_web_session(
                conn, user_id, "t1", at=NOON, expires_at=NOON + HOUR, user_agent="x" * 999,
                address="127.0.0.1",
            )
            assert users.find_web_session(conn, "t1", at=NOON) == made
            assert users.find_web_session(conn, "t1", at=NOON + HOUR) is None
            users.touch_web_session(conn, made.id, at=NOON + HOUR, expires_at=NOON + 2 * HOUR)
            users.touch_web_session(conn, made.id, at=NOON + HOUR * 1.5)
            found = users.find_web_session(conn, "t1", at=NOON + HOUR)
            assert found is not None and found.seen_at == NOON + HOUR * 1.5
            users.delete_web_session(conn, "t1")
            assert users.find_web_session(conn, "t1", at=NOON) is None

    def test_logging_out_everywhere_ends_them_all(self, database: Database, user_id: int) -> None:
        other = add_user(database, "ravi")
        with database.write() as conn:
            for token, owner in (("a", user_id), ("b", user_id), ("c", other)):
                users.create_web_session(conn, owner, token, at=NOON, expires_at=NOON + HOUR)
            assert len(users.list_web_sessions(conn, user_id, at=NOON)) == 2
            assert users.delete_web_sessions_of(conn, user_id) == 2
            assert users.find_web_session(conn, "c", at=NOON) is not None

    def test_a_new_login_clears_away_what_is_over(self, database: Database, user_id: int) -> None:
        with database.write() as conn:
            users.create_web_session(conn, user_id, "a", at=NOON, expires_at=NOON + HOUR)
            users.create_web_session(
                conn, user_id, "b", at=NOON + HOUR, expires_at=NOON + 2 * HOUR
            )
            count = conn.execute(sa.select(sa.func.count()).select_from(users.WebSession)).scalar()
        assert count == 1


class TestAccounts:
    def test_credentials_are_sealed(self, database: Database, account_id: int) -> None:
        assert "canary-market-key" not in everything(database)
        with database.read() as conn:
            opened = accounts.credentials_of(conn, account_id, VAULT)
        assert opened == {"market_api_key": Secret("canary-market-key")}
        with pytest.raises(crypto.CannotOpen) as caught, database.read() as conn:
            accounts.credentials_of(conn, account_id, Vault("another key"))
        assert "canary" not in str(caught.value)

    def test_rotation_seals_again_with_the_new_key(
        self, database: Database, account_id: int
    ) -> None:
        old, new = "a key for tests only, 32 characters", "a new key for tests, 32 characters"
        with database.write() as conn:
            broker_sessions.save_session(conn, account_id, session(), VAULT)
            assert accounts.reseal(conn, Vault(new, old)) == 1
            assert broker_sessions.reseal(conn, Vault(new, old)) == 1
            assert accounts.credentials_of(conn, account_id, Vault(new))
            loaded = broker_sessions.load_session(conn, account_id, Vault(new))
            assert loaded is not None and loaded.session == session()

    def test_labels_are_unique_among_the_present(self, database: Database) -> None:
        first = add_account(database, "prop-b")
        with pytest.raises(AlreadyExists):
            add_account(database, "prop-b")
        with database.write() as conn:
            assert accounts.remove_account(conn, first, at=NOON)
            assert not accounts.remove_account(conn, first, at=NOON)
            assert accounts.get_account(conn, first) is None
            with pytest.raises(NoSuchRow):
                accounts.credentials_of(conn, first, VAULT)
        assert add_account(database, "prop-b") != first

    def test_a_user_sees_their_own_and_the_shared(self, database: Database, user_id: int) -> None:
        add_account(database, "shared")
        add_account(database, "mine", owner_id=user_id)
        add_account(database, "theirs", owner_id=add_user(database, "ravi"))
        with database.read() as conn:
            labels = [row.label for row in accounts.list_for_user(conn, user_id)]
            assert labels == ["shared", "mine"]
            assert len(accounts.list_accounts(conn)) == 3
            assert accounts.list_accounts(conn, "wisdom") == []

    def test_an_account_is_changed_as_a_whole(self, database: Database, account_id: int) -> None:
        new = NewAccount(
            label="prop-c", broker="jainam_prop", cluster="C", options={"books": "dealer"},
            credentials={"market_api_key": Secret("second")}, host_lookup=False,
            source=accounts.ENVIRONMENT, base_url="http://127.0.0.1:1",
        )
        with database.write() as conn:
            changed = accounts.update_account(conn, account_id, new, VAULT, at=NOON + HOUR)
            accounts.set_enabled(conn, account_id, False, at=NOON + HOUR)
        with database.read() as conn:
            stored = accounts.find_account(conn, "prop-c")
            assert stored is not None and changed.id == stored.id == account_id
            assert (stored.cluster, stored.options, stored.host_lookup, stored.enabled) == (
                "C", {"books": "dealer"}, False, False
            )
            assert accounts.credentials_of(conn, account_id, VAULT) == new.credentials

    def test_changes_of_nothing_are_errors(self, database: Database, account_id: int) -> None:
        taken = NewAccount(label="prop-c", broker="wisdom", credentials={})
        with database.write() as conn:
            accounts.create_account(conn, taken, VAULT, at=NOON)
        with pytest.raises(AlreadyExists), database.write() as conn:
            accounts.update_account(conn, account_id, taken, VAULT, at=NOON)
        with pytest.raises(NoSuchRow), database.write() as conn:
            accounts.update_account(conn, 99, NewAccount("x", "y", {}), VAULT, at=NOON)
        with pytest.raises(NoSuchRow), database.write() as conn:
            accounts.set_enabled(conn, 99, True, at=NOON)


def session() -> Session:
    return Session(
        {"interactive": Secret("canary-token")}, {"user_id": "PROP1"}, NOON, NOON + 8 * HOUR
    )


class TestBrokerSessions:
    def test_tokens_are_sealed_and_versions_count_on(
        self, database: Database, account_id: int
    ) -> None:
        with database.write() as conn:
            assert broker_sessions.session_version(conn, account_id) == 0
            assert broker_sessions.load_session(conn, account_id, VAULT) is None
            assert broker_sessions.save_session(conn, account_id, session(), VAULT) == 1
        assert "canary-token" not in everything(database)
        with database.write() as conn:
            loaded = broker_sessions.load_session(conn, account_id, VAULT)
            assert loaded is not None
            assert (loaded.version, loaded.session) == (1, session())
            assert broker_sessions.clear_session(conn, account_id) == 2
            assert broker_sessions.load_session(conn, account_id, VAULT) is None
            assert broker_sessions.save_session(conn, account_id, session(), VAULT) == 3
            assert broker_sessions.session_version(conn, account_id) == 3

    def test_attempts_are_counted_by_time(self, database: Database, account_id: int) -> None:
        with database.write() as conn:
            for hours, outcome in ((0, "ok"), (1, "login_failed"), (2, "ok")):
                broker_sessions.note_login(
                    conn, account_id, outcome, at=NOON + hours * HOUR, automatic=hours > 0
                )
        with database.write() as conn:
            recent = broker_sessions.logins_since(conn, account_id, NOON + HOUR)
            assert [row.outcome for row in recent] == ["ok", "login_failed"]
            assert broker_sessions.prune_logins(conn, NOON + HOUR) == 1
            assert len(broker_sessions.logins_since(conn, account_id, NOON)) == 2


class TestCrypto:
    def test_a_password_costs_what_argon2_recommends(self) -> None:
        """In a process of its own: the tests' own hasher is cheap."""
        asked = "from database.crypto import hash_password; print(hash_password('correct horse'))"
        done = subprocess.run(
            [sys.executable, "-c", asked], capture_output=True, text=True, check=True, cwd=ROOT
        )
        assert extract_parameters(done.stdout.strip()) == RFC_9106_LOW_MEMORY

    def test_passwords_are_checked_against_their_hash(self) -> None:
        stored = crypto.hash_password("correct horse")
        assert stored.startswith("$argon2id$")
        assert crypto.verify_password(stored, "correct horse")
        assert not crypto.verify_password(stored, "battery staple")
        assert not crypto.verify_password("not a hash", "correct horse")

    def test_a_vault_shows_nothing_and_opens_only_its_own(self) -> None:
        vault = Vault("one", "older")
        sealed = vault.seal("canary")
        assert "canary" not in sealed + repr(vault)
        assert vault.open(sealed) == "canary"
        assert vault.open(Vault("older").seal("canary")) == "canary"
        assert Vault("one").open(vault.rotate(Vault("older").seal("canary"))) == "canary"
        for wrong in (sealed[:-4], "rubbish"):
            with pytest.raises(crypto.CannotOpen):
                vault.open(wrong)
            with pytest.raises(crypto.CannotOpen):
                vault.rotate(wrong)
        with pytest.raises(ValueError, match="empty"):
            Vault("")

    def test_any_text_can_be_hashed(self) -> None:
        assert len(crypto.hash_api_key("\ud800 नमस्ते", "pepper")) == 64
