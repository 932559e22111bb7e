# shellcheck shell=sh
# Sourced by the scripts: leaves the folder of the release in $root and its Python in $python.
#
# PYTHON names another one; without it the release's own .venv is taken, then VENV_DIR's.

root=$(CDPATH='' cd -- "$(dirname -- "$(readlink -f -- "$0")")/.." && pwd -P)
python=${PYTHON:-}
for candidate in "$root/.venv/bin/python" "${VENV_DIR:-/nonexistent}/bin/python"; do
    if [ -z "$python" ] && [ -x "$candidate" ]; then
        python=$candidate
    fi
done
if [ -z "$python" ]; then
    echo "$(basename "$0"): $root has no .venv: run 'make setup' there, or name a Python by PYTHON." >&2
    exit 1
fi
cd "$root" || exit 1
