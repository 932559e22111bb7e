#!/bin/sh
# Take a broker out of service and return to the release before: see --help.
#
# It needs nothing but Python 3.11 (and psql on PostgreSQL): no virtual environment, no application
# that starts. The shell is left at once, because the code below may be exchanged while this runs.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd -P)
for python in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    if [ -n "$python" ] && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
    then
        PYTHONPATH="$here" PYTHONDONTWRITEBYTECODE=1 exec "$python" -P -m scripts.rescue "$@"
    fi
done
echo "rollback.sh needs Python 3.11 or newer: name it with PYTHON=/path/to/python3." >&2
exit 5
