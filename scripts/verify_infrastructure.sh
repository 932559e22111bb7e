#!/bin/sh
# Is this host what deploy/README.md says it should be? See --help.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd -P)
PYTHONPATH="$here" PYTHONDONTWRITEBYTECODE=1 exec "${PYTHON:-python3}" -P -m scripts.probes infrastructure "$@"
