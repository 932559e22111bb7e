"""A host made by a file: the script that installs a release, Ansible, cloud-init."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.programs import OPS_TOOLS, find, program
from utils.config import ROOT
from utils.envfile import read_plain

DEPLOY = ROOT / "deploy"
SCRIPT = DEPLOY / "install-release.sh"
USER_DATA = DEPLOY / "cloud-init" / "user-data.yaml"
_PYTHON = """#!/bin/sh
# A Python that writes down what pip was asked for; everything else is done.
case "$*" in
*" venv "*)
  for target; do :; done
  mkdir -p "$target/bin"
  cp "$0" "$target/bin/python" ;;
*"-m pip "*) echo "$*" >> {notes} ;;
*) exec {python} "$@" ;;
esac
"""
_STAND_IN = '#!/bin/sh\necho "{name} $*" >> {notes}\n{do}\n'


class Host:
    """A folder that stands for a host, and programs that write down what only root may do."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "host"
        self.notes = folder / "notes"
        self._tools = folder / "tools"
        self.root.mkdir()
        self._tools.mkdir()
        without_owners = 'set -- $(printf "%s " "$@" | sed -E "s/-[og] [a-z]+ //g"); exec '
        install = f'{without_owners}{shutil.which("install")} "$@"'
        self._write("install", _STAND_IN.format(name="install", notes=self.notes, do=install))
        self._write("useradd", _STAND_IN.format(name="useradd", notes=self.notes, do=""))
        self._write("id", "#!/bin/sh\nexit 1\n")
        self.python = self._write("python3", _PYTHON.format(notes=self.notes,
                                                            python=sys.executable))  # fmt: skip

    def _write(self, name: str, text: str) -> Path:
        path = self._tools / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
        return path

    def install(self, *words: str) -> subprocess.CompletedProcess[str]:
        environ = {"PATH": f"{self._tools}:{os.environ['PATH']}", "DESTDIR": str(self.root)}
        return subprocess.run(
            ["sh", str(SCRIPT), *words], env=environ, capture_output=True, text=True, check=False
        )

    def said(self) -> str:
        return self.notes.read_text(encoding="utf-8")


def test_a_release_is_installed_and_installed_again(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "utils").mkdir(parents=True)
    (project / "utils" / "x.py").write_text("X = 1\n", encoding="utf-8")
    (project / "requirements-server.txt").write_text("", encoding="utf-8")
    (project / ".env").write_text("SECRET_KEY=canary\n", encoding="utf-8")
    host = Host(tmp_path)
    done = host.install(str(project), "v1.2.3")
    assert done.returncode == 0, done.stderr
    release = host.root / "opt/openalgo/releases/v1.2.3"
    assert (release / "utils" / "x.py").is_file() and (release / "utils/__pycache__").is_dir()
    assert os.readlink(release / ".env") == "/etc/openalgo/openalgo.env"
    assert (release / "utils" / "x.py").stat().st_mode & 0o022 == 0
    assert not (host.root / "opt/openalgo/current").exists()  # to serve it is another step
    said = host.said()
    assert "useradd --system" in said
    for folder in ("var/lib/openalgo", "var/log/openalgo", "var/backups/openalgo"):
        assert (host.root / folder).is_dir()
        assert re.search(rf"install -d -m 7[05]0 -o openalgo -g openalgo .*/{folder}", said)
    assert said.count("--no-deps --require-hashes -r") == 1

    (release / "utils" / "x.py").unlink()
    assert "already" in host.install(str(project), "v1.2.3").stdout
    assert host.said().count("pip install") == 1
    (release / ".installed").unlink()  # as if the first time had been interrupted
    assert host.install(str(project), "v1.2.3").returncode == 0
    assert (release / "utils" / "x.py").is_file()


@pytest.mark.parametrize("version", ["../etc", ".hidden", "a b", "x;id", ""])
def test_a_version_is_a_name_and_no_path(version: str, tmp_path: Path) -> None:
    host = Host(tmp_path)
    assert host.install(str(tmp_path), version).returncode == 2
    assert list(host.root.iterdir()) == []


@pytest.mark.ansible
def test_ansible_accepts_the_playbook(tmp_path: Path) -> None:
    environ = {**os.environ, "ANSIBLE_LOCAL_TEMP": str(tmp_path), "HOME": str(tmp_path),
               "PATH": f"{OPS_TOOLS / 'bin'}:{os.environ['PATH']}", "NO_COLOR": "1"}  # fmt: skip
    shutil.copytree(DEPLOY, tmp_path / "deploy")  # the linter leaves a folder behind
    for command in (
        ("ansible-playbook", "--syntax-check", "-i", "inventory.example.yml", "playbook.yml"),
        ("ansible-lint", "--offline", "--profile", "production", "playbook.yml"),
    ):
        done = subprocess.run(
            [program(command[0]), *command[1:]], cwd=tmp_path / "deploy" / "ansible", env=environ,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_playbook_brings_files_that_are_there_and_hides_secrets() -> None:
    (play,) = yaml.safe_load((DEPLOY / "ansible" / "playbook.yml").read_text(encoding="utf-8"))
    text = yaml.safe_dump(play)
    for name in re.findall(r"\.\./([\w./-]+)", text):
        assert (DEPLOY / name).exists(), name
    units = {path.stem for path in (DEPLOY / "systemd").glob("*.timer")}
    assert set(play["vars"]["openalgo_timers"]) == units
    for task in _tasks(play["tasks"]):
        if "vault_" in yaml.safe_dump(task) or "openalgo.env.j2" in yaml.safe_dump(task):
            assert task.get("no_log") is True, task["name"]


def _tasks(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    inner = [one for task in found for one in (*task.get("block", ()), *task.get("rescue", ()))]
    return [task for task in found if "block" not in task] + inner


@pytest.mark.jsonschema
def test_the_schema_of_cloud_init_accepts_the_user_data() -> None:
    schema = OPS_TOOLS / "cloud-config.json"
    if find("cloud-init") is not None:
        command = [program("cloud-init"), "schema", "--config-file", str(USER_DATA)]
    elif schema.is_file():
        command = [program("check-jsonschema"), "--schemafile", str(schema), str(USER_DATA)]
    elif os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail("REQUIRE_SERVICES=1, but there is no cloud-init and no schema of it")
    else:
        pytest.skip("left out: no cloud-init and no schema of it (.ci/run fetches it)")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_user_data_holds_no_secret_and_scripts_that_are_in_order(tmp_path: Path) -> None:
    text = USER_DATA.read_text(encoding="utf-8")
    assert text.startswith("#cloud-config\n")
    data = yaml.safe_load(text)
    files = {item["path"]: item for item in data["write_files"]}
    settings = files["/etc/openalgo/openalgo.env"]
    assert (settings["permissions"], settings["owner"]) == ("0600", "openalgo:openalgo")
    written = tmp_path / "openalgo.env"
    written.write_text(settings["content"], encoding="utf-8")
    for name, value in read_plain(written).items():
        assert not re.search(r"KEY|PEPPER|TOKEN|SECRET", name) or value.startswith("/etc/"), name
    for path, item in files.items():
        if item["content"].startswith("#!/bin/sh"):
            script = tmp_path / Path(path).name
            script.write_text(item["content"], encoding="utf-8")
            assert subprocess.run(["sh", "-n", str(script)], check=False).returncode == 0
            for name in re.findall(r"deploy/[\w./-]+\w", item["content"]):
                assert (ROOT / name).exists(), name
    assert data["runcmd"][0][0] == "openalgo-install"
