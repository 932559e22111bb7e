"""The backups of an instance, from its settings."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Self

from broker.base import Clock
from services.backup import BackupPlan, BackupService
from services.backup_s3 import Bucket, S3Mirror
from utils.config import Settings, given, plain


@dataclass(frozen=True, slots=True)
class BackupOrder:
    """What a process must know to make backups; `bucket`: where their copies go, if anywhere."""

    plan: BackupPlan
    bucket: Bucket | None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As the settings have it."""
        plan = BackupPlan(
            database_url=settings.database_url.get_secret_value(),
            folder=settings.backup_dir.absolute(),
            key=settings.backup_key.get_secret_value(),
            retention=timedelta(days=settings.backup_retention_days),
            keep=settings.backup_keep,
            settings=given(settings),
            previous_key=plain(settings.backup_key_previous),
        )
        access, secret = settings.backup_s3_access_key, settings.backup_s3_secret_key
        if not settings.backup_s3_bucket or access is None or secret is None:
            return cls(plan, None)
        return cls(plan, Bucket(
            settings.backup_s3_endpoint or aws_endpoint(settings.backup_s3_region),
            settings.backup_s3_region,
            settings.backup_s3_bucket,
            settings.backup_s3_prefix,
            access.get_secret_value(),
            secret.get_secret_value(),
        ))

    def to_line(self) -> str:
        """All of it, open secrets included, as one line: for a pipe, never for a log."""
        plan = asdict(self.plan)
        plan |= {"folder": str(plan["folder"]), "retention": plan["retention"].total_seconds()}
        bucket = None if self.bucket is None else asdict(self.bucket)
        return json.dumps({"plan": plan, "bucket": bucket}) + "\n"

    @classmethod
    def from_line(cls, line: str) -> Self:
        """What `to_line` wrote."""
        said = json.loads(line)
        plan = said["plan"]
        plan |= {"folder": Path(plan["folder"]), "retention": timedelta(seconds=plan["retention"])}
        return cls(BackupPlan(**plan), said["bucket"] and Bucket(**said["bucket"]))

    def service(self, clock: Clock) -> BackupService:
        """The service that carries it out."""
        mirror = None if self.bucket is None else S3Mirror(self.bucket, clock.now)
        return BackupService(self.plan, clock, mirror)


def aws_endpoint(region: str) -> str:
    """Where AWS serves S3 in a region."""
    return f"https://s3.{region}.amazonaws.com"
