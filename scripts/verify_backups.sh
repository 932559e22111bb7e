#!/bin/sh
# The weekly check of the backups: there, sound, can be restored, complete. --all checks every one.
set -eu

# shellcheck source=scripts/lib/python.sh
. "$(dirname -- "$(readlink -f -- "$0")")/lib/python.sh"
exec "$python" -m scripts.recovery verify-backups "$@"
