"""An S3 server on loopback that checks every signature and who may do what."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from services.backup_s3 import Bucket

REGION = "ap-south-1"
NAME = "copies"
ROOT_KEYS = {"aws_access_key_id": "root", "aws_secret_access_key": "root"}


class Store:
    """A bucket, the keys of a user who may use it, and an administrator's view of it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._post("reset", b"")
        self._post("reset-auth", b"inf")
        iam = boto3.client("iam", endpoint_url=url, region_name=REGION, **ROOT_KEYS)
        iam.create_user(UserName="backup")
        policy = {"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Resource": "*",
            "Action": ["s3:ListBucket", "s3:GetObject", "s3:PutObject", "s3:DeleteObject"],
        }]}
        iam.put_user_policy(
            UserName="backup", PolicyName="bucket", PolicyDocument=json.dumps(policy)
        )
        key = iam.create_access_key(UserName="backup")["AccessKey"]
        self.access, self.secret = key["AccessKeyId"], key["SecretAccessKey"]
        boto3.client("s3", endpoint_url=url, region_name=REGION, **ROOT_KEYS).create_bucket(
            Bucket=NAME, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        self._post("reset-auth", b"0")  # from now on every request is checked

    def bucket(self, **changes: str) -> Bucket:
        values: dict[str, Any] = {
            "endpoint": self.url, "region": REGION, "name": NAME, "prefix": "prod 1/",
            "access_key": self.access, "secret_key": self.secret, **changes,
        }
        return Bucket(**values)

    def variables(self) -> dict[str, str]:
        return {
            "BACKUP_S3_ENDPOINT": self.url, "BACKUP_S3_REGION": REGION, "BACKUP_S3_BUCKET": NAME,
            "BACKUP_S3_ACCESS_KEY": self.access, "BACKUP_S3_SECRET_KEY": self.secret,
        }

    def _post(self, path: str, body: bytes) -> None:
        request = urllib.request.Request(
            f"{self.url}/moto-api/{path}", body, {"Content-Type": "text/plain"}, method="POST"
        )
        urllib.request.urlopen(request, timeout=10).close()


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def store(s3_url: str) -> Store:
    return Store(s3_url)
