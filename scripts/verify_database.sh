#!/bin/sh
# Check the database as it stands: its own checks, and the rules of the journal.
set -eu

# shellcheck source=scripts/lib/python.sh
. "$(dirname -- "$(readlink -f -- "$0")")/lib/python.sh"
exec "$python" -m scripts.recovery verify-database "$@"
