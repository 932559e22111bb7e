"""Secrets at rest: sealing, the hash of API keys, the hash of passwords.

Sealing is Fernet with a key derived from SECRET_KEY. API keys are 256 random bits, so a keyed hash
is enough and costs microseconds; passwords are guessable, so they get argon2.
"""

from __future__ import annotations

import base64
import hmac
from functools import cache
from typing import TYPE_CHECKING

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

if TYPE_CHECKING:
    from argon2 import PasswordHasher

_PURPOSE = b"openalgo-brokers: secrets at rest, v1"


class CannotOpen(Exception):
    """Sealed with another key, or damaged. Says nothing of what was inside."""


class Vault:
    """Seals and opens text. `previous` keys still open what they sealed, until it is rotated."""

    def __init__(self, secret_key: str, *previous: str) -> None:
        self._fernet = MultiFernet([_fernet(key) for key in (secret_key, *previous)])

    def seal(self, text: str) -> str:
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """The text. `CannotOpen` when none of the keys fits."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise CannotOpen("a stored secret can't be opened with this SECRET_KEY") from None

    def rotate(self, sealed: str) -> str:
        """The same text, sealed with the newest key."""
        try:
            return self._fernet.rotate(sealed.encode()).decode()
        except InvalidToken:
            raise CannotOpen("a stored secret can't be opened with this SECRET_KEY") from None

    def __repr__(self) -> str:
        return "Vault(***)"


def _fernet(secret_key: str) -> Fernet:
    if not secret_key:
        raise ValueError("SECRET_KEY is empty")
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=_PURPOSE).derive(
        secret_key.encode()
    )
    return Fernet(base64.urlsafe_b64encode(derived))


def hash_api_key(key: str, pepper: str) -> str:
    """HMAC-SHA256 of a key under the pepper, in hex: what is stored and searched for."""
    message = key.encode("utf-8", "surrogatepass")
    return hmac.digest(pepper.encode(), message, "sha256").hex()


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher()


def hash_password(password: str) -> str:
    """argon2id hash; takes about 100 ms on purpose, so never on an order's path."""
    return _hasher().hash(password)


def verify_password(stored: str, password: str) -> bool:
    """Whether the password is the one that was hashed."""
    from argon2.exceptions import InvalidHashError, VerificationError

    try:
        return _hasher().verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
