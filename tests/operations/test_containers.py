"""Dockerfile and docker-compose.yml, as far as they can be held to account without an engine."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.operations import dockerfile
from tests.operations.proxy import check, prepare
from tests.operations.serving import free_port, wait_for
from tests.support.programs import program
from tests.support.stacks import environment
from utils.config import ROOT, load_settings

COMPOSE = ROOT / "docker-compose.yml"
STAGES = dockerfile.read(ROOT / "Dockerfile")
ONE_SHOT = {"migrate", "test"}
THROWN_AWAY = {"test", "test-postgres", "test-redis"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return found


# The image ------------------------------------------------------------------------------------


@pytest.mark.hadolint
def test_the_linter_has_nothing_to_say() -> None:
    done = subprocess.run(
        [program("hadolint"), "--failure-threshold", "style", str(ROOT / "Dockerfile")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


def test_the_base_is_pinned_and_the_service_is_nobody_special() -> None:
    bases = {stage.base for stage in STAGES.values()} - set(STAGES)
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", bases.pop())
    served = STAGES["gateway"]
    assert list(STAGES)[-1] == "gateway"  # what `docker build .` makes
    user = served.last("USER").text
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)  # by number: orchestrators can check that
    words = [one.word for one in served.instructions]
    assert words.index("COPY") < words.index("USER")  # the code belongs to root
    assert "/health/live" in served.last("HEALTHCHECK").text
    assert served.last("STOPSIGNAL").text == "SIGTERM"


def test_the_build_gets_what_it_copies_and_no_secret_no_state_no_history() -> None:
    rules = dockerfile.patterns(ROOT / ".dockerignore")
    for source in set(dockerfile.copied(STAGES, "test")) | set(dockerfile.copied(STAGES, "build")):
        assert source == "." or not dockerfile.ignored(rules, source), source
    for path in (".env", ".env.production", "deploy/.env", "db/openalgo.db", "openalgo.db",
                 "tests/x.db-wal", ".git/config", ".venv/bin/python", "log/app.log", "secrets/a",
                 "deploy/secrets/key", "run/5000/sandbox.env", "openalgo.env",
                 "utils/__pycache__/x.pyc", ".cache/x"):  # fmt: skip
        assert dockerfile.ignored(rules, path), path
    for path in ("utils/config.py", "tests/conftest.py", "static/x/y.js", ".env.example"):
        assert not dockerfile.ignored(rules, path), path


def test_every_package_that_serves_is_copied() -> None:
    """A package that a later change adds must not be missing in the image alone."""
    out = {"benchmarks", "deploy", "docs", "examples", "simulator", "tests"}
    here = {
        path.name for path in ROOT.iterdir()
        if path.is_dir() and not path.name.startswith((".", "_"))
    } - {"db", "log", "run", "htmlcov"}  # fmt: skip
    assert set(dockerfile.copied(STAGES, "build")) >= here - out


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dockerfile.Stage]:
    """The stage that serves, done in a clean folder; its Python has pip, as the base image's."""
    folder = tmp_path_factory.mktemp("image")
    base = getattr(sys, "_base_executable", sys.executable)
    subprocess.run([base, "-m", "venv", str(folder / "base")], check=True)
    yield dockerfile.Builder(ROOT, folder, folder / "base" / "bin").build("gateway")


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_what_the_dockerfile_makes_serves_and_is_healthy(
    image: dockerfile.Stage, tmp_path: Path
) -> None:
    assert {note.split()[0] for note in image.notes} == {
        "apt-get", "groupadd", "useradd", "install",
    }  # fmt: skip
    owners = [note for note in image.notes if note.startswith("install")]
    assert owners and all("-o 10001 -g 10001" in note for note in owners)
    code = image.path(".")
    assert not (code / "tests").exists() and not (code / "simulator").exists()
    assert (code / "utils" / "__pycache__").is_dir()
    environ = {
        "HOME": str(tmp_path), **environment(), **image.variables(), "HOST": "127.0.0.1",
        "PORT": str(free_port()), "LOG_CONSOLE_LEVEL": "CRITICAL",
        **{name: secrets.token_hex(32)
           for name in ("SECRET_KEY", "API_KEY_PEPPER", "BACKUP_KEY")},
    }  # fmt: skip
    command = [image.mapped(word) for word in image.last("CMD").words()]
    probe = image.last("HEALTHCHECK").text.partition(" CMD ")[2]
    words = [
        image.mapped(word) for word in dockerfile.Instruction("CMD", probe).words()
    ]

    def healthy() -> bool:
        assert process.poll() is None, "the gateway ended by itself"
        return subprocess.run(words, env=environ, capture_output=True, check=False).returncode == 0

    process = subprocess.Popen(command, cwd=code, env=environ)
    try:
        wait_for(healthy, 60)
        assert (image.root / "var/lib/openalgo/openalgo.db").is_file()
        assert (image.root / "var/log/openalgo/app.log").is_file()
    finally:
        process.terminate()
        assert process.wait(30) == 0
    assert subprocess.run(words, env=environ, capture_output=True, check=False).returncode != 0


# What stands around it ------------------------------------------------------------------------


@pytest.mark.compose
def test_compose_accepts_the_file(tmp_path: Path) -> None:
    (tmp_path / "openalgo.env").write_text("LOG_LEVEL=INFO\n", encoding="utf-8")
    done = subprocess.run(
        [program("docker-compose"), "-f", str(COMPOSE), "config", "-q"], cwd=tmp_path,
        env={**os.environ, "OPENALGO_ENV_FILE": str(tmp_path / "openalgo.env")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.jsonschema
def test_the_schema_of_compose_files_accepts_it() -> None:
    done = subprocess.run(
        [program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(COMPOSE)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_every_service_is_watched_restarted_and_bounded(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert set(services) >= {"openalgo", "worker", "postgres", "redis", "nginx", "prometheus",
                             "alertmanager", "grafana", "test", "migrate"}  # fmt: skip
    for name in set(services) - ONE_SHOT - THROWN_AWAY:
        service = services[name]
        assert service["restart"] == "unless-stopped", name
        limits = service["deploy"]["resources"]["limits"]
        assert limits["memory"] and limits["cpus"], name
        assert service["logging"]["options"]["max-size"], name
        by_image = "build" in service and STAGES["gateway"].last("HEALTHCHECK")
        assert "healthcheck" in service or by_image, name
        image = service["image"]
        assert "build" in service or re.search(r":v?\d+\.\d+", image), image  # an exact version


def test_backups_are_made_by_the_tools_of_the_servers_version(compose: dict[str, Any]) -> None:
    """pg_dump refuses a server that is newer than itself."""
    server = re.match(r"postgres:(\d+)\.", compose["services"]["postgres"]["image"])
    text = " ".join(one.text for one in STAGES["gateway"].instructions)
    client = re.search(r"postgresql-client-(\d+)", text)
    assert server is not None and client is not None and server[1] == client[1]


def test_nothing_serves_before_the_schema_is_there(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services["migrate"]["command"][-2:] == ["db", "upgrade"]
    assert services["migrate"]["restart"] == "no"
    for name in ("openalgo", "worker"):
        needs = services[name]["depends_on"]
        assert needs["migrate"]["condition"] == "service_completed_successfully"
        assert needs["postgres"]["condition"] == "service_healthy"
    assert "--appendonly" in services["redis"]["command"]


def test_only_the_proxy_is_open_to_strangers_and_storage_has_no_way_out(
    compose: dict[str, Any],
) -> None:
    services = compose["services"]
    open_ones = {
        name for name, service in services.items()
        for port in service.get("ports", ()) if not port.startswith("127.0.0.1:")
    }  # fmt: skip
    assert open_ones == {"nginx"}
    assert compose["networks"]["data"]["internal"] is True
    for name in ("postgres", "redis"):
        assert services[name]["networks"] == ["data"]
    for name in ("openalgo", "worker", "migrate"):
        assert services[name]["read_only"] is True and services[name]["cap_drop"] == ["ALL"]


def test_no_secret_stands_in_the_file(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for variable in service.get("environment", {}):
            if re.search(r"PASSWORD|SECRET|KEY|TOKEN|PEPPER", variable):
                assert variable.endswith("_FILE"), f"{name}: {variable}"
        for secret in service.get("secrets", ()):
            source = secret if isinstance(secret, str) else secret["source"]
            assert source in compose["secrets"]


def test_the_gateways_settings_are_valid_together(compose: dict[str, Any], tmp_path: Path) -> None:
    """The image's variables under compose's, with the files of the secrets."""
    contents = {
        "database_url": "postgresql://openalgo:a-password@postgres:5432/openalgo",
        **{name: secrets.token_hex(32)
           for name in ("secret_key", "api_key_pepper", "backup_key", "metrics_token")},
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).write_text(content + "\n", encoding="utf-8")
    image: dict[str, str] = {}
    for one in STAGES["gateway"].instructions:
        if one.word == "ENV":
            image |= dict(pair.split("=", 1) for pair in one.words())
    for name, jobs in (("openalgo", False), ("worker", False)):
        given = compose["services"][name]["environment"]
        given = {key: str(value).replace("/run/secrets", str(tmp_path))
                 for key, value in given.items()}  # fmt: skip
        account = {key: value for key, value in environment().items() if "BASE_URL" not in key}
        settings = load_settings(
            env_file=None, environ={**image, **given, **account}, root=tmp_path
        )
        assert settings.environment == "production" and not settings.is_sqlite
        assert settings.run_jobs is jobs
        assert settings.state_dir.is_relative_to("/var/lib/openalgo")
        proxy = compose["services"]["nginx"]["networks"]["front"]["ipv4_address"]
        assert settings.trusted_proxies == (proxy,)


@pytest.mark.nginx
def test_the_proxys_file_for_containers_is_valid_and_knows_the_gateway(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    upstreams = ROOT / "deploy" / "docker" / "nginx-upstreams.conf"
    address = compose["services"]["openalgo"]["networks"]["front"]["ipv4_address"]
    assert f"server {address}:5000 " in upstreams.read_text(encoding="utf-8")
    done = check(prepare(tmp_path, free_port(), free_port(), upstreams))
    assert done.returncode == 0, done.stderr


def test_every_file_that_is_mounted_is_there(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("./"):
                assert (ROOT / source).exists(), f"{name}: {source}"
