"""Rotation of every secret: the old one goes on until what hangs on it was moved."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from broker.models import Secret, Session
from database import accounts, broker_sessions
from database.crypto import CannotOpen, Vault
from database.engine import Database
from services.access import AccessService
from services.alarms import AlarmService
from services.backup_build import BackupOrder
from services.errors import Conflict, InvalidRequest
from services.flags import FlagService
from services.secret_ages import SECRET_DUE, SecretService, limit_of
from tests.support.clocks import ManualClock
from tests.support.databases import NOON, add_account, sqlite_database
from utils.config import Settings, load_settings, plain
from utils.envfile import read_plain, set_variables

OLD = {
    "SECRET_KEY": "0f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a6978",
    "API_KEY_PEPPER": "9a8b7c6d5e4f30213243546576879810a1b2c3d4e5f60718",
    "BACKUP_KEY": "3c5a5d1e7a9c3b0f4e6d8a2c1b7f9e0d3c5a5d1e7a9c3b0f",
}
NEW = {name: value[::-1] for name, value in OLD.items()}


class Instance:
    """The services of a process that was started with these variables."""

    def __init__(self, database: Database, clock: ManualClock, **variables: str) -> None:
        self.settings: Settings = load_settings(
            environ={**OLD, "DATABASE_URL": f"sqlite:///{database.url.database}", **variables},
            env_file=None, root=Path("/nonexistent"),
        )
        self.flags = FlagService(database, clock, max_age=0.0)
        self.alarms = AlarmService(database, clock)
        keys = (self.settings.secret_key, self.settings.secret_key_previous)
        self.vault = Vault(*(text for key in keys if (text := plain(key))))
        self.access = AccessService(
            database, self.flags, clock, plain(self.settings.api_key_pepper),
            previous_pepper=plain(self.settings.api_key_pepper_previous), remember=0.0,
            background=lambda work: work(),
        )
        self.backups = BackupOrder.of(self.settings).service(clock)
        self.secrets = SecretService(
            self.settings, database, self.flags, self.alarms, self.backups, self.vault, clock
        )


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with sqlite_database(tmp_path) as made:
        yield made


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON)


def rotated(name: str) -> dict[str, str]:
    return {name: NEW[name], f"{name}_PREVIOUS": OLD[name]}


def test_the_secret_key_moves_what_it_sealed(database: Database, clock: ManualClock) -> None:
    before = Instance(database, clock)
    account = add_account(database)
    with database.write() as conn:
        conn.exec_driver_sql("UPDATE accounts SET credentials = ?", (
            accounts.seal_secrets(before.vault, {"market_api_key": Secret("canary-market-key")}),
        ))
        session = Session({"interactive": Secret("canary-token")}, {}, NOON, NOON)
        broker_sessions.save_session(conn, account, session, before.vault)
    with pytest.raises(Conflict, match="no rotation to finish"):
        before.secrets.finish("SECRET_KEY")

    after = Instance(database, clock, **rotated("SECRET_KEY"))
    with database.read() as conn:  # both halves of the overlap read it
        assert accounts.credentials_of(conn, account, after.vault)["market_api_key"].reveal() == (
            "canary-market-key"
        )
    assert after.secrets.finish("SECRET_KEY") == (
        "2 stored secrets are sealed with the new SECRET_KEY."
    )
    alone = Instance(database, clock, SECRET_KEY=NEW["SECRET_KEY"])
    with database.read() as conn:
        found = broker_sessions.load_session(conn, account, alone.vault)
        assert found is not None
        assert found.session.tokens["interactive"].reveal() == "canary-token"
        with pytest.raises(CannotOpen):
            accounts.credentials_of(conn, account, before.vault)
    with pytest.raises(Conflict, match="opens with neither"):
        Instance(
            database, clock, SECRET_KEY="5" + OLD["SECRET_KEY"],
            SECRET_KEY_PREVIOUS=OLD["SECRET_KEY"],
        ).secrets.finish("SECRET_KEY")


def test_api_keys_outlive_the_pepper_if_they_are_used(
    database: Database, clock: ManualClock
) -> None:
    before = Instance(database, clock)
    user = before.access.create_user("asha", "a long password of asha")
    _, used = before.access.create_key(user, "used")
    idle_view, idle = before.access.create_key(user, "idle")
    before.secrets.ages()
    clock.advance(60)
    after = Instance(database, clock, **rotated("API_KEY_PEPPER"))
    after.secrets.ages()
    clock.advance(60)
    principal = after.access.authenticate_key(used)
    assert principal is not None and principal.name == "asha"
    after.access.flush_last_used()
    with pytest.raises(Conflict, match=f"1 API keys were not used .*{idle_view.prefix}"):
        after.secrets.finish("API_KEY_PEPPER")
    assert after.secrets.finish("API_KEY_PEPPER", give_up=True) == "1 API keys go on, 1 end."
    alone = Instance(database, clock, API_KEY_PEPPER=NEW["API_KEY_PEPPER"])
    assert alone.access.authenticate_key(used) is not None
    assert alone.access.authenticate_key(idle) is None


def test_older_backups_open_with_the_key_of_before(
    database: Database, clock: ManualClock
) -> None:
    made = Instance(database, clock).backups.create()
    clock.advance(900)
    after = Instance(database, clock, **rotated("BACKUP_KEY"))
    newer = after.backups.create()
    assert [one.name for one in after.backups.all()] == [newer.name, made.name]
    assert after.backups.verify(made.name).name == made.name
    with pytest.raises(Conflict, match="1 backups can only be opened with the key of before"):
        after.secrets.finish("BACKUP_KEY")
    assert "1 backups" in after.secrets.finish("BACKUP_KEY", give_up=True)
    alone = Instance(database, clock, BACKUP_KEY=NEW["BACKUP_KEY"])
    assert [one.name for one in alone.backups.all()] == [newer.name]
    assert "BACKUP_KEY" not in (after.backups.settings_of(newer.name))


def test_a_secret_is_due_after_its_days_and_not_after_its_rotation(
    database: Database, clock: ManualClock
) -> None:
    assert [limit_of(name) for name in (
        "DATABASE_URL", "API_KEY_PEPPER", "JAINAM_MARKET_API_SECRET", "SECRET_KEY", "BACKUP_KEY"
    )] == [90, 180, 180, 365, 365]
    first = Instance(database, clock)
    first.secrets.look()
    assert first.alarms.list() == []
    clock.advance(timedelta(days=181).total_seconds())
    first.secrets.look()
    assert [(row.rule, row.subject) for row in first.alarms.list()] == [
        (SECRET_DUE, "API_KEY_PEPPER")
    ]
    # rotating SECRET_KEY, which keys the marks, makes no other secret young
    rotation = Instance(database, clock, **rotated("SECRET_KEY"))
    ages = {age.name: (clock.now() - age.since).days for age in rotation.secrets.ages()}
    assert ages == {"SECRET_KEY": 0, "API_KEY_PEPPER": 181, "BACKUP_KEY": 181}
    after = Instance(database, clock, **rotated("SECRET_KEY"), **rotated("API_KEY_PEPPER"))
    after.secrets.look()
    assert after.alarms.list() == []
    with database.read() as conn:
        stored = str(conn.exec_driver_sql("SELECT name, value FROM flags").all())
    assert not any(value in stored for value in (*OLD.values(), *NEW.values()))


def test_only_what_can_be_rotated(database: Database, clock: ManualClock) -> None:
    with pytest.raises(InvalidRequest):
        Instance(database, clock).secrets.finish("PORT")


def test_a_file_of_variables_keeps_the_rest(tmp_path: Path) -> None:
    real = tmp_path / "openalgo.env"
    real.write_text("# head\nexport A=1\nB='two words'\nSECRET_KEY=old\n# tail", "utf-8")
    real.chmod(0o640)
    link = tmp_path / ".env"
    link.symlink_to(real)
    set_variables(link, {"SECRET_KEY": "new", "SECRET_KEY_PREVIOUS": "old", "A": None, "C": None})
    assert real.read_text(encoding="utf-8") == (
        "# head\nB='two words'\n# tail\nSECRET_KEY=new\nSECRET_KEY_PREVIOUS=old\n"
    )
    assert read_plain(link)["B"] == "two words"
    assert link.is_symlink() and real.stat().st_mode & 0o777 == 0o640
