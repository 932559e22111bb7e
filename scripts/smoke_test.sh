#!/bin/sh
# Does everything that a client reads work? Places no order, so it is safe on a live account. See --help.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd -P)
PYTHONPATH="$here" PYTHONDONTWRITEBYTECODE=1 exec "${PYTHON:-python3}" -P -m scripts.probes smoke "$@"
