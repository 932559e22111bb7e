"""Users and API keys: shown once, hashed with a pepper, gone everywhere when revoked."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from database.errors import DatabaseUnavailable
from database.users import ApiKey, User
from services.access import Principal
from services.errors import Conflict, Forbidden, InvalidRequest, NotFoundHere
from tests.support.clocks import ManualClock
from tests.support.stacks import Stack


def test_a_key_is_64_hex_digits_and_only_its_hash_is_stored(stack: Stack) -> None:
    asha = stack.user()
    view, plain = stack.access.create_key(asha, "laptop", "trade", "prop")
    assert len(plain) == 64
    assert int(plain, 16) >= 0
    assert view.prefix == plain[:8]
    with stack.database.read() as conn:
        stored = conn.execute(sa.select(ApiKey.__table__)).mappings().one()
    assert plain not in str(dict(stored))
    found = stack.access.authenticate_key(plain)
    assert found == Principal(asha.user_id, "asha", False, "trade", view.id, "prop")


@pytest.mark.parametrize("key", ["", "x", "0" * 64, "é" * 64, "\ud800", "k" * 5000])
def test_wrong_keys_are_nobody(stack: Stack, key: str) -> None:
    stack.access.create_key(stack.user(), "laptop")
    assert stack.access.authenticate_key(key) is None
    assert stack.access.authenticate_key(key) is None


def test_a_revoked_key_is_dead_here_at_once_and_elsewhere_within_a_second(
    stack: Stack, other_process: Stack, clock: ManualClock
) -> None:
    asha = stack.user()
    view, plain = stack.access.create_key(asha, "laptop")
    assert other_process.access.authenticate_key(plain) is not None
    assert stack.access.authenticate_key(plain) is not None
    stack.access.revoke_key(asha, view.id)
    assert stack.access.authenticate_key(plain) is None
    clock.advance(0.6)
    assert other_process.access.authenticate_key(plain) is None
    assert [key.revoked for key in stack.access.list_keys(asha)] == [True]


def test_a_revocation_during_a_look_up_is_not_remembered_as_valid(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    asha = stack.user()
    view, plain = stack.access.create_key(asha, "laptop")
    real = stack.access._read_key

    def slow(digest: str) -> Principal | None:
        found = real(digest)
        monkeypatch.setattr(stack.access, "_read_key", real)
        stack.access.revoke_key(asha, view.id)
        assert stack.access.authenticate_key("0" * 64) is None  # another thread sees the change
        return found

    monkeypatch.setattr(stack.access, "_read_key", slow)
    assert stack.access.authenticate_key(plain) is not None  # began before the revocation
    assert stack.access.authenticate_key(plain) is None


def test_a_disabled_user_is_locked_out_and_comes_back(stack: Stack) -> None:
    asha = stack.user()
    _, plain = stack.access.create_key(asha, "laptop")
    assert stack.access.authenticate_key(plain) is not None
    stack.access.set_enabled("asha", False, who="root")
    assert stack.access.authenticate_key(plain) is None
    assert stack.access.verify_login("asha", "a long password of asha") is None
    with pytest.raises(NotFoundHere):
        stack.access.principal_of("asha")
    stack.access.set_enabled(asha.user_id, True, who="root")
    assert stack.access.authenticate_key(plain) is not None
    with pytest.raises(NotFoundHere):
        stack.access.set_enabled("nobody", True, who="root")


def test_scopes_are_ordered(stack: Stack) -> None:
    reader = Principal(1, "asha", False, "read")
    trader = Principal(1, "asha", False, "trade")
    admin = Principal(1, "asha", True, "admin")
    assert [p.allows("trade") for p in (reader, trader, admin)] == [False, True, True]
    admin.demand("admin")
    with pytest.raises(Forbidden, match="scope 'trade'"):
        reader.demand("trade")


def test_an_admin_key_needs_an_admin_and_falls_with_them(stack: Stack) -> None:
    asha, root = stack.user(), stack.user("root", is_admin=True)
    with pytest.raises(Forbidden):
        stack.access.create_key(asha, "k", "admin")
    _, plain = stack.access.create_key(root, "k", "admin")
    found = stack.access.authenticate_key(plain)
    assert found is not None
    assert found.scope == "admin"
    with stack.database.write() as conn:
        conn.execute(sa.update(User).where(User.id == root.user_id).values(is_admin=False))
    stack.flags.bump("version.keys", "root")
    found = stack.access.authenticate_key(plain)
    assert found is not None
    assert found.scope == "trade"


@pytest.mark.parametrize(
    ("name", "scope"), [("", "trade"), (" ", "trade"), ("x" * 65, "trade"), ("a\x00", "trade"),
                        ("k", "root"), ("k", "")],
)
def test_bad_keys_are_not_created(stack: Stack, name: str, scope: str) -> None:
    with pytest.raises(InvalidRequest):
        stack.access.create_key(stack.user(), name, scope)


def test_only_the_owner_or_an_admin_may_revoke_a_key(stack: Stack) -> None:
    asha, ben, root = stack.user(), stack.user("ben"), stack.user("root", is_admin=True)
    view, _ = stack.access.create_key(asha, "laptop")
    for number in (view.id, 999):
        with pytest.raises(NotFoundHere):
            stack.access.revoke_key(ben, number)
    assert stack.access.list_keys(ben) == []
    with pytest.raises(Forbidden):
        stack.access.list_keys(ben, everybody=True)
    assert len(stack.access.list_keys(root, everybody=True)) == 1
    stack.access.revoke_key(root, view.id)


def test_the_last_use_is_written_down_later(stack: Stack, clock: ManualClock) -> None:
    asha = stack.user()
    _, plain = stack.access.create_key(asha, "laptop")
    stack.access.authenticate_key(plain)
    clock.advance(30)
    stack.access.authenticate_key(plain)
    used = clock.now()
    [view] = stack.access.list_keys(asha)
    assert view.last_used_at == used
    clock.advance(100)
    stack.access.authenticate_key(plain)  # a minute has passed: this one writes by itself
    with stack.database.read() as conn:
        stored = conn.execute(sa.select(ApiKey.last_used_at)).scalar_one()
    assert stored == clock.now()


def test_keys_verified_before_are_believed_while_the_database_is_down(
    stack: Stack, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asha = stack.user()
    _, plain = stack.access.create_key(asha, "laptop")
    assert stack.access.authenticate_key(plain) is not None

    def down() -> None:
        raise DatabaseUnavailable("the disk is full")

    monkeypatch.setattr(stack.database, "read", down)
    monkeypatch.setattr(stack.database, "write", down)
    clock.advance(1000)
    assert stack.access.authenticate_key(plain) is not None
    with pytest.raises(DatabaseUnavailable):
        stack.access.authenticate_key("0" * 64)
    stack.access.flush_last_used()


def test_the_first_administrator_is_made_once(stack: Stack) -> None:
    assert not stack.access.has_users()
    root = stack.access.create_first_admin("root", "a long password", "root@example.org")
    assert root.is_admin
    assert root.scope == "admin"
    assert stack.access.has_users()
    with pytest.raises(Conflict):
        stack.access.create_first_admin("root2", "a long password")
    [user] = stack.access.list_users()
    assert (user.name, user.email, user.is_admin) == ("root", "root@example.org", True)


@pytest.mark.parametrize(
    ("name", "password"),
    [("", "long enough pw"), ("a b", "long enough pw"), ("x" * 65, "long enough pw"),
     ("../x", "long enough pw"), ("asha", "short"), ("asha", "x" * 257)],
)
def test_bad_users_are_refused(stack: Stack, name: str, password: str) -> None:
    with pytest.raises(InvalidRequest):
        stack.access.create_user(name, password)
    assert not stack.access.has_users()


def test_names_are_unique_whatever_their_case(stack: Stack) -> None:
    stack.user("asha")
    with pytest.raises(Conflict):
        stack.user("ASHA")


def test_logins_are_verified(stack: Stack, clock: ManualClock) -> None:
    asha = stack.user()
    assert stack.access.verify_login("asha", "a long password of asha") == asha
    for name, password in [("asha", "wrong password"), ("nobody", "x" * 20), ("a b", "x"),
                           ("asha", "x" * 100_000)]:
        assert stack.access.verify_login(name, password) is None
    assert stack.access.list_users()[0].last_login_at == clock.now()
    stack.access.set_password("asha", "another long password")
    assert stack.access.verify_login("asha", "a long password of asha") is None
    assert stack.access.verify_login("asha", "another long password") == asha


def test_a_key_that_was_verified_asks_the_database_nothing(stack: Stack) -> None:
    _, plain = stack.access.create_key(stack.user(), "laptop")
    stack.access.authenticate_key(plain)
    asked: list[str] = []
    sa.event.listen(
        stack.database.engine, "before_cursor_execute", lambda *given: asked.append(given[2])
    )
    for _ in range(20):
        assert stack.access.authenticate_key(plain) is not None
    assert asked == []
    assert stack.access.authenticate_key("x" * 64) is None
    assert len(asked) > 0, "and one that was not verified does"
