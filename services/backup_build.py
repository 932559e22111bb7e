"""The backups of an instance, from its settings."""

from __future__ import annotations

from datetime import timedelta

from broker.base import Clock
from services.backup import BackupPlan, BackupService
from services.backup_s3 import Bucket, S3Mirror
from utils.config import Settings, given, plain


def build_backups(settings: Settings, clock: Clock) -> BackupService:
    """The service, with its copy off the site where a bucket is set."""
    plan = BackupPlan(
        database_url=settings.database_url.get_secret_value(),
        folder=settings.backup_dir,
        key=settings.backup_key.get_secret_value(),
        retention=timedelta(days=settings.backup_retention_days),
        keep=settings.backup_keep,
        settings=given(settings),
        previous_key=plain(settings.backup_key_previous),
    )
    mirror = None
    access, secret = settings.backup_s3_access_key, settings.backup_s3_secret_key
    if settings.backup_s3_bucket and access is not None and secret is not None:
        bucket = Bucket(
            settings.backup_s3_endpoint or aws_endpoint(settings.backup_s3_region),
            settings.backup_s3_region,
            settings.backup_s3_bucket,
            settings.backup_s3_prefix,
            access.get_secret_value(),
            secret.get_secret_value(),
        )
        mirror = S3Mirror(bucket, clock.now)
    return BackupService(plan, clock, mirror)


def aws_endpoint(region: str) -> str:
    """Where AWS serves S3 in a region."""
    return f"https://s3.{region}.amazonaws.com"
