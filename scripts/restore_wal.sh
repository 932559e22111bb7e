#!/bin/sh
# PostgreSQL's restore_command: restore_wal.sh FOLDER %f %p
# Brings a segment back; a segment that is not there ends the recovery, which is how it is meant.
set -eu

[ -e "$1/$2" ] || exit 1
cp "$1/$2" "$3"
