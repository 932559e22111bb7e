#!/bin/sh
# Bring the version of this checkout into service: deploy.sh development|staging|production. See --help.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd -P)
PYTHONPATH="$here" PYTHONDONTWRITEBYTECODE=1 exec "${PYTHON:-python3}" -P -m scripts.release "$@"
