"""After a disaster: what `restore_database.sh`, `verify_database.sh` and `verify_backups.sh` run.

It needs the packages of a release, and neither its settings nor its database: the variables are
taken from the backup itself. What has to be brought along is BACKUP_KEY, and the way to the
backups: their folder, or the BACKUP_S3_… variables of the bucket.
"""
