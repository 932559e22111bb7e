"""Who may do what: users, passwords and API keys.

A key is 256 random bits, shown once; only its HMAC-SHA256 under a pepper is stored. Verifying one
costs a hash and a dictionary look-up: what was verified is remembered for seconds, and forgotten
at once in every process when a key or user changes (by a flag whose value changes with them).
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Literal

from broker.base import Clock
from database import users
from database.crypto import hash_api_key, hash_password, verify_password
from database.engine import Database
from database.errors import AlreadyExists, StorageError
from services import counting
from services.errors import Conflict, Forbidden, InvalidRequest, NotFoundHere
from services.flags import FlagService

log = logging.getLogger(__name__)

Scope = Literal["read", "trade", "admin"]
SCOPES: tuple[Scope, ...] = ("read", "trade", "admin")
SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 256
LONGEST_KEY = 256

_KEYS_VERSION = "version.keys"
_USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_CAPACITY = 4096


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking, and what they may do. `key_id` is None for a web login or the command line.

    `scope` is the highest right: read < trade < admin. `default_account` is the key's own.
    """

    user_id: int
    name: str
    is_admin: bool
    scope: Scope
    key_id: int | None = None
    default_account: str | None = None

    @property
    def journal_id(self) -> int | None:
        """The user in the journal; None for the command line, which is nobody's row."""
        return self.user_id or None

    def allows(self, scope: Scope) -> bool:
        """Whether this principal has the right `scope` or a higher one."""
        return SCOPES.index(self.scope) >= SCOPES.index(scope)

    def demand(self, scope: Scope) -> None:
        """`Forbidden` unless this principal has the right `scope`."""
        if not self.allows(scope):
            raise Forbidden(f"This needs an API key with the scope '{scope}'.")


@dataclass(frozen=True, slots=True)
class UserView:
    """A user as people see it."""

    id: int
    name: str
    email: str
    is_admin: bool
    enabled: bool
    created_at: datetime
    last_login_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyView:
    """An API key as people see it: told apart by `name` and its first characters, `prefix`."""

    id: int
    user_id: int
    name: str
    prefix: str
    scope: str
    account: str | None
    created_at: datetime
    last_used_at: datetime | None
    revoked: bool


@cache
def _nobodys_hash() -> str:
    """A hash that no password fits, so that an unknown name takes as long as a wrong password."""
    return hash_password(secrets.token_hex(32))


def _start_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="access-last-used", daemon=True).start()


class AccessService:
    """Users and API keys. `pepper` keys the hashes of the API keys.

    A key that was hashed with `previous_pepper` is still known, and hashed anew when it is used.

    `remember` is how many seconds a verified key is believed without asking the database,
    `note_every` how often, in seconds, the times of last use are written down, by `background`.
    """

    def __init__(
        self,
        database: Database,
        flags: FlagService,
        clock: Clock,
        pepper: str,
        *,
        remember: float = 5.0,
        note_every: float = 60.0,
        background: Callable[[Callable[[], None]], None] = _start_thread,
        previous_pepper: str = "",
    ) -> None:
        self._database = database
        self._flags = flags
        self._clock = clock
        self._pepper = pepper
        self._previous_pepper = previous_pepper
        self._remember = remember
        self._note_every = note_every
        self._background = background
        self._lock = threading.Lock()
        self._stamp = ""
        self._known: dict[str, tuple[Principal | None, float]] = {}
        self._used: dict[int, datetime] = {}
        self._hits = self._misses = 0
        self._note_at = clock.monotonic() + note_every

    def __repr__(self) -> str:
        return "AccessService()"

    # Keys --------------------------------------------------------------------------------------

    def authenticate_key(self, key: str) -> Principal | None:
        """The principal of an API key; None when it is wrong, revoked, or its user is disabled.

        While the database cannot be read, keys verified before are still believed, so that the way
        out of a position stays open; unknown ones raise `StorageError`.
        """
        principal = self._find_key(key) if 0 < len(key) <= LONGEST_KEY else None
        if principal is None:
            counting.authentication_failed("api_key")
        return principal

    def drain_use(self) -> tuple[int, int]:
        """Hits and misses of the cache of keys since the last time; a close estimate."""
        used, self._hits, self._misses = (self._hits, self._misses), 0, 0
        return used

    def _find_key(self, key: str) -> Principal | None:
        digest = hash_api_key(key, self._pepper)
        stamp = self._flags.get(_KEYS_VERSION)
        if stamp != self._stamp:
            self._forget(stamp)
        now = self._clock.monotonic()
        known = self._known.get(digest)
        if known is None or known[1] < now:
            self._misses += 1
            return self._look_up(key, digest, known, stamp, now)
        self._hits += 1
        principal = known[0]
        if principal is not None and principal.key_id is not None:
            self._used[principal.key_id] = self._clock.now()
        return principal

    def create_key(
        self,
        principal: Principal,
        name: str,
        scope: str = "trade",
        account: str | None = None,
    ) -> tuple[KeyView, str]:
        """A new key of the principal's; returned with its text, which nobody can show again."""
        name = name.strip()
        if not name or len(name) > 64 or not name.isprintable():
            raise InvalidRequest("Give the key a name of 1 to 64 characters.", field="name")
        if scope not in SCOPES:
            raise InvalidRequest(f"The scope must be one of: {', '.join(SCOPES)}.", field="scope")
        if scope == "admin" and not principal.is_admin:
            raise Forbidden("Only an administrator may have a key with the scope 'admin'.")
        plain = users.new_api_key()
        with self._database.write() as conn:
            row = users.create_api_key(
                conn,
                principal.user_id,
                plain,
                hash_api_key(plain, self._pepper),
                at=self._clock.now(),
                name=name,
                scope=scope,
                default_account=account or None,
            )
        self._changed(principal.name)
        return _key_view(row), plain

    def list_keys(self, principal: Principal, *, everybody: bool = False) -> list[KeyView]:
        """The principal's keys, newest first, revoked ones included; an admin may see all."""
        if everybody and not principal.is_admin:
            raise Forbidden("Only an administrator may see other people's keys.")
        self.flush_last_used()
        with self._database.read() as conn:
            rows = users.list_keys(conn, None if everybody else principal.user_id)
        return [_key_view(row) for row in rows]

    def revoke_key(self, principal: Principal, key_id: int) -> None:
        """End a key for good, in every process within a second. An admin may end anyone's."""
        with self._database.write() as conn:
            row = users.get_key(conn, key_id)
            if row is None or not (principal.is_admin or row.user_id == principal.user_id):
                raise NotFoundHere(f"You have no API key with the number {key_id}.")
            users.revoke_key(conn, key_id, at=self._clock.now())
        self._changed(principal.name)

    def flush_last_used(self) -> None:
        """Write down when keys were last used; a failure is logged and made up for later."""
        with self._lock:
            used, self._used = self._used.copy(), {}
        if not used:
            return
        try:
            with self._database.write() as conn:
                users.note_keys_used(conn, used)
        except StorageError:
            log.warning("the times of last use of API keys could not be written")

    # Users -------------------------------------------------------------------------------------

    def has_users(self) -> bool:
        """Whether anybody exists yet; if not, the first-run set-up is due."""
        with self._database.read() as conn:
            return users.has_users(conn)

    def create_user(
        self, name: str, password: str, *, is_admin: bool = False, email: str | None = None
    ) -> Principal:
        """Add a user. `InvalidRequest` for a bad name or password, `Conflict` for a taken name."""
        return self._create_user(name, password, is_admin, email, only_first=False)

    def create_first_admin(self, name: str, password: str, email: str | None = None) -> Principal:
        """Add the administrator of a new instance. `Conflict` when there is a user already."""
        return self._create_user(name, password, True, email, only_first=True)

    def list_users(self) -> list[UserView]:
        """Everybody, in the order they were added."""
        with self._database.read() as conn:
            rows = users.list_users(conn)
        return [
            UserView(
                row.id, row.name, row.email, row.is_admin, row.enabled, row.created_at,
                row.last_login_at,
            )
            for row in rows
        ]

    def principal_of(self, user: str | int) -> Principal:
        """The principal of a user by name or id, as a login gives it. `NotFoundHere`."""
        with self._database.read() as conn:
            row = (
                users.get_user(conn, user) if isinstance(user, int) else users.find_user(conn, user)
            )
        if row is None or not row.enabled:
            raise NotFoundHere(f"There is no user '{user}'.")
        return _principal(row)

    def verify_login(self, name: str, password: str) -> Principal | None:
        """The user with this name and password; None, as slowly, for any other pair."""
        with self._database.read() as conn:
            row = users.find_user(conn, name) if _USER_NAME.fullmatch(name) else None
            stored = _nobodys_hash() if row is None else users.password_hash_of(conn, row.id)
        fits = len(password) <= LONGEST_PASSWORD and verify_password(stored, password)
        if row is None or not fits or not row.enabled:
            counting.authentication_failed("password")
            return None
        with self._database.write() as conn:
            users.note_login(conn, row.id, at=self._clock.now())
        return _principal(row)

    def set_password(self, user: str | int, password: str) -> None:
        """Change a password; all web sessions of the user end."""
        principal = self.principal_of(user)
        hashed = hash_password(_checked_password(password))
        with self._database.write() as conn:
            users.set_password(conn, principal.user_id, hashed)
            users.delete_web_sessions_of(conn, principal.user_id)

    def set_enabled(self, user: str | int, enabled: bool, *, who: str) -> None:
        """Switch a user off (keys and logins stop working) or on again."""
        with self._database.write() as conn:
            row = (
                users.get_user(conn, user) if isinstance(user, int) else users.find_user(conn, user)
            )
            if row is None:
                raise NotFoundHere(f"There is no user '{user}'.")
            users.set_enabled(conn, row.id, enabled)
            if not enabled:
                users.delete_web_sessions_of(conn, row.id)
        self._changed(who)

    # Inside ------------------------------------------------------------------------------------

    def _create_user(
        self, name: str, password: str, is_admin: bool, email: str | None, *, only_first: bool
    ) -> Principal:
        if not _USER_NAME.fullmatch(name):
            raise InvalidRequest(
                "A user name has 1 to 64 letters, digits, dots, dashes, underscores or @, and "
                "begins with a letter or digit.",
                field="name",
            )
        hashed = hash_password(_checked_password(password))
        with self._database.write() as conn:
            if only_first and users.has_users(conn):
                raise Conflict("The administrator exists already. Log in instead.")
            try:
                row = users.create_user(
                    conn, name, hashed, at=self._clock.now(), email=email or "", is_admin=is_admin
                )
            except AlreadyExists:
                raise Conflict(f"There is a user named '{name}' already.") from None
        return _principal(row)

    def _look_up(
        self, key: str, digest: str, known: tuple[Principal | None, float] | None, stamp: str,
        now: float,
    ) -> Principal | None:
        try:
            principal = self._read_key(digest) or self._read_older_key(key, digest)
        except StorageError:
            if known is None:
                raise
            log.warning("the database cannot be read: an API key verified before is believed")
            principal = known[0]
        with self._lock:
            if len(self._known) >= _CAPACITY:
                self._known.clear()
            if stamp == self._stamp:  # else a change came while we read
                self._known[digest] = (principal, now + self._remember)
        if principal is not None and principal.key_id is not None:
            self._used[principal.key_id] = self._clock.now()
        if now >= self._note_at and self._used:
            self._note_at = now + self._note_every
            self._background(self.flush_last_used)
        return principal

    def _read_key(self, digest: str) -> Principal | None:
        with self._database.read() as conn:
            key = users.find_key(conn, digest)
            owner = users.get_user(conn, key.user_id) if key is not None else None
        if key is None or owner is None:
            return None
        scope: Scope = "read" if key.scope == "read" else "trade"
        if key.scope == "admin" and owner.is_admin:
            scope = "admin"
        return Principal(
            owner.id, owner.name, owner.is_admin, scope, key.id, key.default_account or None
        )

    def _read_older_key(self, key: str, digest: str) -> Principal | None:
        """A key under the pepper of before; it is stored under the new one from now on."""
        if not self._previous_pepper:
            return None
        principal = self._read_key(hash_api_key(key, self._previous_pepper))
        if principal is not None and principal.key_id is not None:
            try:
                with self._database.write() as conn:
                    users.rehash_key(conn, principal.key_id, digest)
            except StorageError as error:
                log.warning("an API key keeps the hash of the pepper before: %s", error)
        return principal

    def _forget(self, stamp: str) -> None:
        with self._lock:
            self._known.clear()
            self._stamp = stamp

    def _changed(self, who: str) -> None:
        self._flags.bump(_KEYS_VERSION, who)


def _principal(row: users.UserRow) -> Principal:
    return Principal(row.id, row.name, row.is_admin, "admin" if row.is_admin else "trade")


def _key_view(row: users.KeyRow) -> KeyView:
    return KeyView(
        row.id, row.user_id, row.name, row.prefix, row.scope, row.default_account,
        row.created_at, row.last_used_at, row.revoked_at is not None,
    )


def _checked_password(password: str) -> str:
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise InvalidRequest(
            f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters.",
            field="password",
        )
    return password
