"""The bucket: requests that a real server's signature check accepts, and refusals that are said."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.backup_s3 import S3Mirror
from services.errors import Unavailable
from tests.integration.backups.conftest import Store


def now() -> datetime:
    return datetime.now(UTC)


def test_files_go_there_and_come_back(store: Store, tmp_path: Path) -> None:
    mirror = S3Mirror(store.bucket(), now)
    assert mirror.names() == []
    content = os.urandom(3_000_000)
    for name in ("backup-1.bak", "with space & ü.json"):
        (tmp_path / name).write_bytes(content)
        mirror.put(tmp_path / name)
    assert sorted(mirror.names()) == ["backup-1.bak", "with space & ü.json"]
    mirror.get("backup-1.bak", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == content
    mirror.delete("backup-1.bak")
    mirror.delete("backup-1.bak")  # gone already
    assert mirror.names() == ["with space & ü.json"]
    assert S3Mirror(store.bucket(prefix="other/"), now).names() == []


def test_more_than_a_page_of_names(store: Store, tmp_path: Path) -> None:
    mirror = S3Mirror(store.bucket(), now, page=2)
    for number in range(5):
        (tmp_path / f"{number}").write_bytes(b"x")
        mirror.put(tmp_path / f"{number}")
    assert mirror.names() == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"secret_key": "wrong-canary-5d1e"}, "SignatureDoesNotMatch"),
        ({"access_key": "AKIANOBODY"}, "InvalidAccessKeyId"),
        ({"name": "elsewhere"}, "NoSuchBucket"),
        ({"endpoint": "http://127.0.0.1:1"}, "ConnectionRefused"),
    ],
)
def test_a_refusal_is_said_without_the_secret(
    store: Store, changes: dict[str, str], said: str
) -> None:
    bucket = store.bucket(**changes)
    with pytest.raises(Unavailable, match=said) as caught:
        S3Mirror(bucket, now).names()
    assert bucket.secret_key not in str(caught.value)
    assert bucket.secret_key not in repr(bucket)
