#!/bin/sh
# Make a backup now (--if-due: only when one is due). See docs/operations/disaster-recovery.md.
set -eu

# shellcheck source=scripts/lib/python.sh
. "$(dirname -- "$(readlink -f -- "$0")")/lib/python.sh"
exec "$python" -m flask --app app backup create "$@"
