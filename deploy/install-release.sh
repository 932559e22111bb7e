#!/bin/sh
# Put a release where deploy/README.md says that releases are, ready to serve; it does not serve it yet.
#
#     install-release.sh ARCHIVE VERSION       (a tar archive of the project, or a folder; as root)
#
# Safe to repeat: a release that is complete is left alone, an incomplete one is made anew. Also makes the
# user and the folders of a fresh host. DESTDIR puts everything below another folder, as in `make install`.
set -eu

archive=${1:?usage: install-release.sh ARCHIVE VERSION}
version=${2:?usage: install-release.sh ARCHIVE VERSION}
destination=${DESTDIR:-}
python=${PYTHON:-python3}

case $version in
*[!A-Za-z0-9._-]* | .*) echo "not a version: $version" >&2; exit 2 ;;
esac
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Python 3.11 or newer is needed: set PYTHON to one." >&2
  exit 3
}

if ! id openalgo >/dev/null 2>&1; then
  useradd --system --user-group --home-dir /var/lib/openalgo --no-create-home \
    --shell /usr/sbin/nologin openalgo
fi
releases=$destination/opt/openalgo/releases
install -d -m 755 "$releases"
install -d -m 750 -o root -g openalgo "$destination/etc/openalgo"
install -d -m 750 -o openalgo -g openalgo "$destination/etc/openalgo/secrets"
install -d -m 750 -o openalgo -g openalgo "$destination/var/lib/openalgo" "$destination/var/log/openalgo"
install -d -m 700 -o openalgo -g openalgo "$destination/var/backups/openalgo"

release=$releases/$version
if [ -e "$release/.installed" ]; then
  echo "$version is installed already: $release"
  exit 0
fi
rm -rf "$release"
mkdir "$release"
chmod 755 "$release"
if [ -d "$archive" ]; then
  (cd "$archive" && tar -c --exclude=./.env --exclude=./.venv --exclude=./.git --exclude=./db \
    --exclude=./log --exclude=./run --exclude=./.cache .) | tar -x --no-same-owner -C "$release"
else
  tar -x --no-same-owner -f "$archive" -C "$release"
fi
"$python" -m venv "$release/.venv"
# The lock is complete and hashed: nothing is resolved, and nothing else can come in.
"$release/.venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
  --no-deps --require-hashes -r "$release/requirements-server.txt"
# Compiled here, since the service may not write into its own code.
"$release/.venv/bin/python" -m compileall -q "$release"
ln -s /etc/openalgo/openalgo.env "$release/.env"
chmod -R go-w "$release"
touch "$release/.installed"
echo "$version is installed: $release"
