# The gateway in a container. `docker build .` makes the image that serves; `--target test` the one that
# runs the tests. Everything around it: docker-compose.yml.

FROM python:3.11.14-slim-bookworm AS build
WORKDIR /opt/openalgo
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
COPY requirements-server.txt ./
# The lock is complete and hashed: nothing is resolved, and nothing else can come in.
RUN python3 -m venv --without-pip .venv \
    && python3 -m pip --python .venv/bin/python install --no-compile --no-deps --require-hashes \
        -r requirements-server.txt
COPY app.py LICENSE pyproject.toml ./
COPY blueprints blueprints
COPY broker broker
COPY cli cli
COPY config config
COPY database database
COPY migrations migrations
COPY scripts scripts
COPY services services
COPY static static
COPY templates templates
COPY utils utils
# Compiled here, since the service may not write into its own code.
RUN python3 -m compileall -q -j 0 .

FROM build AS test
COPY requirements-dev.txt ./
RUN python3 -m pip --python .venv/bin/python install --no-compile --no-deps --require-hashes \
        -r requirements-dev.txt
COPY . .
CMD ["/opt/openalgo/.venv/bin/python", "-m", "pytest", "-q", "-n", "2"]

FROM python:3.11.14-slim-bookworm AS gateway
# pg_dump and pg_restore for backups, of the version that PostgreSQL has in docker-compose.yml. A version
# pinned to the last digit would be gone from Debian with its next security update.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql-client-15 \
    && rm -rf /var/lib/apt/lists/*
RUN groupadd --system --gid 10001 openalgo \
    && useradd --system --uid 10001 --gid 10001 --home-dir /var/lib/openalgo --no-create-home openalgo \
    && install -d -m 750 -o 10001 -g 10001 /var/lib/openalgo /var/lib/openalgo/run \
    && install -d -m 750 -o 10001 -g 10001 /var/log/openalgo /var/backups/openalgo
COPY --from=build /opt/openalgo /opt/openalgo
WORKDIR /opt/openalgo
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PATH=/opt/openalgo/.venv/bin:/usr/local/bin:/usr/bin:/bin \
    ENVIRONMENT=production \
    HOST=0.0.0.0 \
    PORT=5000 \
    DATABASE_URL=sqlite:////var/lib/openalgo/openalgo.db \
    STATE_DIR=/var/lib/openalgo/run \
    LOG_DIR=/var/log/openalgo \
    BACKUP_DIR=/var/backups/openalgo
USER 10001:10001
VOLUME ["/var/lib/openalgo", "/var/log/openalgo", "/var/backups/openalgo"]
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["/opt/openalgo/.venv/bin/python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/health/live', timeout=4)"]
CMD ["/opt/openalgo/.venv/bin/gunicorn", "--config", "config/gunicorn.py"]
