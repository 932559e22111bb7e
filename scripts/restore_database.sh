#!/bin/sh
# Replace the database by a backup: [latest | backup-20260115-1030] [--yes]. Works without any settings.
set -eu

# shellcheck source=scripts/lib/python.sh
. "$(dirname -- "$(readlink -f -- "$0")")/lib/python.sh"
exec "$python" -m scripts.recovery restore "$@"
