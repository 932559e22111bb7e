"""Backups: made, listed, verified, put back and thinned out.

A backup is two files in `BACKUP_DIR`: `<name>.json`, its manifest, signed with BACKUP_KEY, and
`<name>.bak`, sealed with it (`services.backup_archive`). It holds the main store and the settings
of the instance, BACKUP_KEY left out. The symbols change once a day and are large: they have a file
of their own, `symbols-<stamp>.bak`, which the manifests name. Nothing here needs the application to
be configured: after a disaster there is only the folder, or its copy off the site, and the key.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from broker.base import Clock
from database.backup import MAIN, SYMBOLS, BackupFailed, Source
from database.errors import StorageError
from services import backup_archive as archive
from services.backup_archive import Unreadable
from services.backup_models import (
    LATEST,
    NAME,
    SETTINGS_FILE,
    Backup,
    BackupPlan,
    Mirror,
    Restored,
    differences,
    hand_over,
    own_inventory,
    quoted,
    sorted_out,
)
from services.backup_workspace import workspace
from services.errors import Conflict, InvalidRequest, NotFoundHere, Unavailable
from utils.envfile import write_private
from utils.version import VERSION

__all__ = ["Backup", "BackupPlan", "BackupService", "Mirror", "Restored"]

log = logging.getLogger(__name__)


class BackupService:
    """The backups of one instance."""

    def __init__(self, plan: BackupPlan, clock: Clock, mirror: Mirror | None = None) -> None:
        self._plan = plan
        self._clock = clock
        self._mirror = mirror
        self._source = Source(plan.database_url)

    @property
    def is_possible(self) -> bool:
        """Whether there is a key: nothing is ever written unsealed."""
        return bool(self._plan.key)

    # Making ------------------------------------------------------------------------------------

    def create(self) -> Backup:
        """Make one now, check it, and copy it off the site if there is a mirror.

        `Unavailable` when it could not be made; a copy off the site that failed as well, with the
        backup in its place here.
        """
        self._demand_key()
        with self._alone(), workspace(self._plan.folder) as work:
            at = self._clock.now().astimezone(UTC)
            name = f"backup-{at:%Y%m%d-%H%M%S}"
            if (self._plan.folder / f"{name}.json").exists():
                raise Conflict(f"There is a backup {name} already.")
            try:
                content = work / "content"
                content.mkdir()
                inventory = self._source.copy(MAIN, content)
                self._write_settings(content)
                symbols_file, symbols_sum = self._symbols(work)
                sealed = work / f"{name}.bak"
                files = {sealed.name: archive.pack(content, sealed, self._plan.key)}
            except (BackupFailed, OSError) as error:
                raise Unavailable(f"The backup was not made: {error}.") from error
            if symbols_file:
                files[symbols_file] = symbols_sum
            manifest = {
                "name": name, "at": at.isoformat(), "kind": self._source.kind, "version": VERSION,
                "symbols_file": symbols_file, "inventory": inventory, "files": files,
            }
            sealed.replace(self._plan.folder / sealed.name)
            hand_over(self._plan.folder / sealed.name)
            self._sign(manifest)
        made = self.find(name)
        log.info("backup made", extra={"backup": name, "bytes": made.size})
        if self._mirror is not None:
            self._send(self._mirror)
        return made

    def sealed_before(self) -> list[str]:
        """The backups here that only the key of before opens."""
        current = BackupService(replace(self._plan, previous_key=""), self._clock)
        mine = {one.name for one in current.all()}
        return [one.name for one in self.all() if one.name not in mine]

    def newest_at(self) -> datetime | None:
        """When the newest backup here was made."""
        found = self.all()
        return found[0].at if found else None

    def _symbols(self, work: Path) -> tuple[str, str]:
        """The file that has the symbols as they are now, and its checksum; made if it is new."""
        stamp = self._source.stamp()
        if not stamp:
            return "", ""
        # The key is part of the name: a file that another key sealed is of no use to this backup.
        mark = hashlib.sha256(f"{archive.key_name(self._plan.key)} {stamp}".encode())
        name = f"symbols-{mark.hexdigest()[:24]}.bak"
        final = self._plan.folder / name
        if not final.exists():
            content = work / "symbols"
            content.mkdir()
            inventory = self._source.copy(SYMBOLS, content)
            (content / "inventory.json").write_text(json.dumps(inventory), encoding="utf-8")
            archive.pack(content, work / name, self._plan.key)
            (work / name).replace(final)
            hand_over(final)
        return name, archive.digest(final)

    def _write_settings(self, content: Path) -> None:
        variables = self._plan.settings or {}
        lines = [f"{name}={quoted(value)}\n" for name, value in sorted(variables.items())]
        (content / SETTINGS_FILE).write_text("".join(lines), encoding="utf-8")

    def _sign(self, manifest: dict[str, Any]) -> None:
        text = json.dumps(manifest, sort_keys=True)
        signature = archive.signature(self._plan.key, text.encode())
        signed = {"manifest": manifest, "signature": signature}
        path = self._plan.folder / f"{manifest['name']}.json"
        write_private(path, json.dumps(signed, indent=2) + "\n")
        hand_over(path)

    def _send(self, mirror: Mirror) -> None:
        """Copy what is not there yet, also what an earlier failure left out."""
        there = set(mirror.names())
        for backup in reversed(self.all()):
            for name in (*backup.files, f"{backup.name}.json"):  # the manifest says "complete"
                if name not in there:
                    mirror.put(self._plan.folder / name)
                    there.add(name)

    # Finding -----------------------------------------------------------------------------------

    def all(self) -> list[Backup]:
        """The backups here, the newest first. A manifest that cannot be trusted is left out."""
        found = []
        for path in self._plan.folder.glob("backup-*.json"):
            try:
                found.append(self._read(path))
            except Unreadable as error:
                log.error("a backup's manifest can't be trusted: %s", error)
        return sorted(found, key=lambda backup: backup.name, reverse=True)

    def find(self, name: str) -> Backup:
        """A backup by its name, the beginning of one, or "latest"; fetched if it is only elsewhere.

        `NotFoundHere` when there is none, `InvalidRequest` when several begin like that.
        """
        names = sorted(self._names(), reverse=True)
        fits = names[:1] if name == LATEST else [one for one in names if one.startswith(name)]
        if not fits or not name:
            raise NotFoundHere(f"There is no backup '{name}' in {self._plan.folder}.")
        if len(fits) > 1:
            raise InvalidRequest(f"Several backups begin like that: {', '.join(fits[:5])}.")
        self._fetch([f"{fits[0]}.json"])
        try:
            return self._read(self._plan.folder / f"{fits[0]}.json")
        except Unreadable as error:
            raise Unavailable(f"The backup {fits[0]} can't be used: {error}.") from None

    def _names(self) -> set[str]:
        files = {path.name for path in self._plan.folder.glob("backup-*.json")}
        if self._mirror is not None and not files:
            files = {name for name in self._mirror.names() if name.endswith(".json")}
        return {
            name.removesuffix(".json") for name in files
            if NAME.fullmatch(name.removesuffix(".json"))
        }

    def _read(self, path: Path) -> Backup:
        try:
            signed = json.loads(path.read_text(encoding="utf-8"))
            manifest = signed["manifest"]
            text = json.dumps(manifest, sort_keys=True)
            expected = {archive.signature(key, text.encode()) for key in self._plan.keys}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Unreadable(f"{path.name}: {error}") from None
        if signed.get("signature") not in expected:
            raise Unreadable(f"{path.name}: it was changed, or signed with another BACKUP_KEY")
        files = [self._plan.folder / name for name in manifest["files"]]
        return Backup(
            manifest["name"], datetime.fromisoformat(manifest["at"]), manifest["kind"],
            manifest["version"], sum(file.stat().st_size for file in files if file.exists()),
            manifest["symbols_file"], manifest["inventory"], manifest["files"],
            all(file.exists() for file in files),
        )

    def _fetch(self, names: Sequence[str]) -> None:
        """Have these files here; from the mirror, where they are not."""
        self._plan.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in names:
            target = self._plan.folder / name
            if target.exists():
                continue
            if self._mirror is None:
                raise Unavailable(f"{name} is not in {self._plan.folder}.")
            draft = target.with_name(f".{name}.part")
            self._mirror.get(name, draft)
            draft.replace(target)
            hand_over(target)

    # Verifying ---------------------------------------------------------------------------------

    def verify(self, name: str = LATEST) -> Backup:
        """Put a backup back into a scratch database, and hold it against its manifest.

        Checksums, seals, the database's own check, the count of every table and the sums over the
        journal. `Unavailable` with everything that differs.
        """
        backup = self.find(name)
        with workspace(self._plan.folder) as work, self._source.scratch(work) as scratch:
            self._demand_kind(backup)
            folders = self._open(backup, work)
            problems = []
            try:
                for part, folder in folders.items():
                    scratch.put_back(part, folder)
                    wanted = backup.inventory if part == MAIN else own_inventory(folder)
                    found = scratch.inventory(part)
                    problems += [f"{part}: {text}" for text in differences(wanted, found)]
            except StorageError as error:
                problems.append(str(error))
        if problems:
            raise Unavailable(f"The backup {backup.name} is not sound: {'; '.join(problems)}.")
        return backup

    def _open(self, backup: Backup, work: Path) -> dict[str, Path]:
        """The content of a backup's files, by part."""
        self._fetch([*backup.files])
        folders = {}
        try:
            for file, checksum in backup.files.items():
                path = self._plan.folder / file
                if archive.digest(path) != checksum:
                    raise Unreadable(f"{file} is not what was written: its checksum differs")
                part = SYMBOLS if file == backup.symbols_file else MAIN
                folders[part] = work / f"opened-{part}"
                folders[part].mkdir()
                archive.unpack(path, folders[part], *self._plan.keys)
        except Unreadable as error:
            raise Unavailable(f"The backup {backup.name} can't be used: {error}.") from None
        return folders

    # Putting back ------------------------------------------------------------------------------

    def restore(
        self, name: str = LATEST, *, settings_to: Path | None = None, force: bool = False
    ) -> Restored:
        """Replace the database by a backup, verified afterwards against its manifest.

        settings_to: where to write the variables, only if there is no file. force: although the
        database is in use. `Conflict` when it is; nothing was changed then.
        """
        backup = self.find(name)
        self._demand_kind(backup)
        users = [] if force else self._source.users()
        if users:
            raise Conflict(f"The database is in use: stop the gateway first ({'; '.join(users)}).")
        with self._alone(), workspace(self._plan.folder) as work:
            folders = self._open(backup, work)
            settings = folders[MAIN] / SETTINGS_FILE
            written = None
            if settings_to is not None and not settings_to.exists() and settings.stat().st_size:
                settings_to.parent.mkdir(parents=True, exist_ok=True)
                write_private(settings_to, settings.read_text(encoding="utf-8"))
                written = settings_to
            try:
                put_back = [self._source.put_back(*item) for item in folders.items()]
                problems = differences(backup.inventory, self._source.inventory())
            except (StorageError, OSError) as error:
                raise Unavailable(f"The backup was not put back: {error}.") from error
        if problems:
            raise Unavailable(f"The database differs from the backup: {'; '.join(problems)}.")
        log.info("backup restored", extra={"backup": backup.name})
        kept = tuple(path for path in put_back if path is not None)
        return Restored(backup, written, SYMBOLS in folders, kept)

    def settings_of(self, name: str = LATEST) -> str:
        """The variables in a backup, as the text of a file."""
        backup = self.find(name)
        with workspace(self._plan.folder) as work:
            folder = self._open(backup, work)[MAIN]
            return (folder / SETTINGS_FILE).read_text(encoding="utf-8")

    # Thinning ----------------------------------------------------------------------------------

    def prune(self) -> list[str]:
        """Delete what is not kept, here and off the site; the names that went.

        Kept are the newest ones whatever their age, every one of the last two days, and the last
        one of each day of the retention.
        """
        plan = self._plan
        with self._alone():
            kept, gone = sorted_out(self.all(), self._clock.now(), plan.retention, plan.keep)
            wanted = {name for backup in kept for name in backup.files}
            for backup in gone:
                for name in (f"{backup.name}.json", f"{backup.name}.bak"):
                    (self._plan.folder / name).unlink(missing_ok=True)
            for path in self._plan.folder.glob("symbols-*.bak"):
                if path.name not in wanted:
                    path.unlink()
            if self._mirror is not None:
                self._prune_mirror(self._mirror, kept, gone)
        return [backup.name for backup in gone]

    def _prune_mirror(
        self, mirror: Mirror, kept: Sequence[Backup], gone: Sequence[Backup]
    ) -> None:
        """Delete there what was deleted here, and what is older than the retention.

        Backups of another host that shares the bucket's prefix are left alone until then, and so
        is every file of symbols, as long as one of those may need it.
        """
        limit = f"backup-{self._clock.now().astimezone(UTC) - self._plan.retention:%Y%m%d-%H%M%S}"
        mine, deleted = {one.name for one in kept}, {one.name for one in gone}
        left = set()
        for file in (name for name in mirror.names() if name.startswith("backup-")):
            name = file.partition(".")[0]
            if name in deleted or (name < limit and name not in mine):
                mirror.delete(file)
            else:
                left.add(name)
        if left <= mine:
            wanted = {name for one in kept for name in one.files}
            for file in (name for name in mirror.names() if name.startswith("symbols-")):
                if file not in wanted:
                    mirror.delete(file)

    # Inside ------------------------------------------------------------------------------------

    def _demand_key(self) -> None:
        if not self.is_possible:
            raise Unavailable("BACKUP_KEY is not set: no backup is ever written unsealed.")

    def _demand_kind(self, backup: Backup) -> None:
        if backup.kind != self._source.kind:
            raise InvalidRequest(
                f"The backup {backup.name} is of {backup.kind}, "
                f"DATABASE_URL of {self._source.kind}."
            )

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One at a time in this folder. `Conflict` when another one is at it."""
        self._plan.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = self._plan.folder / ".lock"
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        hand_over(lock)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise Conflict("Another backup or restore is running.") from None
        finally:
            os.close(handle)
