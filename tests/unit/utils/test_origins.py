"""Secrets from a manager's command, and variables under a name of before."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path

import pytest

from utils.config import ConfigurationError, load_settings
from utils.settings import origins
from utils.settings.layers import Layer
from utils.settings.origins import Renamed, with_new_names

KEYS = {name: secrets.token_hex(32) for name in ("SECRET_KEY", "API_KEY_PEPPER", "BACKUP_KEY")}


def command(tmp_path: Path, code: str) -> str:
    script = tmp_path / "manager.py"
    script.write_text(code, encoding="utf-8")
    return f"{sys.executable} '{script}'"


@pytest.mark.parametrize("form", ["json", "lines"])
def test_secrets_come_from_a_command(tmp_path: Path, form: str) -> None:
    text = json.dumps(KEYS) if form == "json" else "".join(f"{k}={v}\n" for k, v in KEYS.items())
    environ = {"SECRETS_COMMAND": command(tmp_path, f"print({text!r})"), "BACKUP_KEY": "1d" * 30}
    with pytest.raises(ConfigurationError):  # what the environment says wins, and is too regular
        load_settings(environ=environ, env_file=None, root=tmp_path)
    del environ["BACKUP_KEY"]
    env_file = tmp_path / ".env"
    env_file.write_text("SECRET_KEY=of-the-file\n", encoding="utf-8")
    settings = load_settings(environ=environ, env_file=env_file, root=tmp_path)
    assert settings.secret_key.get_secret_value() == KEYS["SECRET_KEY"]
    assert settings.origin("API_KEY_PEPPER") == "secrets manager"
    assert settings.warnings == ()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; print('canary-3f'); sys.exit(4)", "ended with status 4"),
        ("print('canary-3f and words')", "neither a JSON object nor NAME=value"),
        ("print('{\"SECRET_KEY\": 5}')", "neither a JSON object nor NAME=value"),
        ("print('PORT=80')", "gave PORT: only secrets"),
    ],
)
def test_what_a_command_does_wrong_is_said_without_its_words(
    tmp_path: Path, code: str, said: str
) -> None:
    environ = {**KEYS, "SECRETS_COMMAND": command(tmp_path, code)}
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ=environ, env_file=None, root=tmp_path)
    (fault,) = caught.value.faults
    assert fault.variable == "SECRETS_COMMAND" and said in fault.message
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"), [("/no/such/program x", "can't be run"), ("cat 'x", "quotation mark")]
)
def test_a_command_that_is_none(tmp_path: Path, words: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load_settings(environ={**KEYS, "SECRETS_COMMAND": words}, env_file=None, root=tmp_path)


OLD = {"GATEWAY_PORT": Renamed("PORT", "2.0.0")}


def test_an_old_name_goes_on_working_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origins.with_new_names, "__defaults__", (OLD,))
    settings = load_settings(environ={**KEYS, "GATEWAY_PORT": "5099"}, env_file=None, root=tmp_path)
    assert settings.port == 5099
    assert settings.warnings == (
        "GATEWAY_PORT (environment) is called PORT now; the old name ends with 2.0.0.",
    )
    with pytest.raises(ConfigurationError, match="old name of PORT, which is set as well"):
        load_settings(
            environ={**KEYS, "GATEWAY_PORT": "5099", "PORT": "1"}, env_file=None, root=tmp_path
        )


def test_after_its_release_an_old_name_is_a_fault() -> None:
    layer = Layer(".env", {"GATEWAY_PORT": "5099"})
    _, faults, warnings = with_new_names(layer, "2.0.0", OLD)
    assert [fault.message for fault in faults] == ["is called PORT since release 2.0.0"]
    assert warnings == []
    changed, faults, _ = with_new_names(layer, "1.9.9", OLD)
    assert (dict(changed.values), faults) == ({"PORT": "5099"}, [])
