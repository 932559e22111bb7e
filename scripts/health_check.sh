#!/bin/sh
# One look at the gateway: 0 well, 1 degraded, 2 it does not serve. See --help.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd -P)
PYTHONPATH="$here" PYTHONDONTWRITEBYTECODE=1 exec "${PYTHON:-python3}" -P -m scripts.probes health "$@"
