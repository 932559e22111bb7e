"""The settings: layers, secrets from files, and every fault at once without its value."""

from __future__ import annotations

import secrets
from decimal import Decimal
from pathlib import Path

import pytest

from utils.config import (
    PATHS,
    SECRETS,
    ConfigurationError,
    Settings,
    display,
    given,
    load_settings,
    value_of,
)

CREDENTIALS = {
    "JAINAM_INTERACTIVE_API_KEY": "interactive-key-1",
    "JAINAM_INTERACTIVE_API_SECRET": "Sim#b$1001",
    "JAINAM_MARKET_API_KEY": "market-key-1",
    "JAINAM_MARKET_API_SECRET": "Mkt@b$1001",
}


@pytest.fixture
def base() -> dict[str, str]:
    """An environment with what is always needed."""
    return {name: secrets.token_hex(32) for name in ("SECRET_KEY", "API_KEY_PEPPER", "BACKUP_KEY")}


def load(environ: dict[str, str], root: Path, env_file: Path | None = None) -> Settings:
    return load_settings(environ=environ, root=root, env_file=env_file)


def faults(environ: dict[str, str], root: Path, env_file: Path | None = None) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as caught:
        load(environ, root, env_file)
    return {fault.variable: fault.message for fault in caught.value.faults}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


class TestDefaults:
    def test_a_fresh_development_machine_is_a_sandbox(
        self, base: dict[str, str], tmp_path: Path
    ) -> None:
        settings = load(base, tmp_path)
        assert settings.environment == "development"
        assert settings.sandbox is True
        assert (settings.host, settings.port) == ("127.0.0.1", 5000)
        assert (settings.web_concurrency, settings.web_threads) == (1, 32)
        assert settings.is_sqlite
        assert settings.order_queue_wait == 7.0
        assert settings.login_rate_limit == "5 per minute;25 per hour"
        assert settings.jainam.symphony_server == "B"
        assert settings.jainam.api_timeout == 10.0
        assert settings.risk_max_order_value is None
        assert settings.session_cookie_secure is False

    def test_nothing_secret_is_printed(self, base: dict[str, str], tmp_path: Path) -> None:
        environ = {
            **base,
            **CREDENTIALS,
            "METRICS_TOKEN": "metrics-token-canary",
            "DATABASE_URL": "postgresql://u:canary-password@h/db",
            "ACME_MARKET_API_KEY": "acme-canary",
        }
        settings = load(environ, tmp_path)
        printed = f"{settings!r} {settings} {settings.__dict__} {settings.model_dump()}"
        printed += repr(settings.__pydantic_private__)
        for value in environ.values():
            assert value not in printed
        assert "canary" not in printed

    def test_settings_can_not_be_changed(self, base: dict[str, str], tmp_path: Path) -> None:
        settings = load(base, tmp_path)
        with pytest.raises(ValueError, match="frozen"):
            settings.port = 1

    def test_an_unknown_field_is_refused(self) -> None:
        with pytest.raises(ValueError, match="prot"):
            Settings(prot=5001)  # type: ignore[call-arg]


class TestLayers:
    def test_each_layer_wins_over_the_one_before(
        self, base: dict[str, str], tmp_path: Path
    ) -> None:
        write(tmp_path / "config/default.yaml", "port: 1001\nweb_threads: 1\nlog_level: ERROR\n")
        write(tmp_path / "config/staging.yaml", "port: 1002\nweb_threads: 2\nhost: 10.0.0.1\n")
        env_file = write(tmp_path / ".env", "ENVIRONMENT=staging\nPORT=1003\nweb_concurrency=3\n")
        settings = load({**base, "PORT": "1004"}, tmp_path, env_file)
        assert settings.environment == "staging"
        assert settings.log_level == "ERROR"
        assert settings.web_threads == 2
        assert settings.host == "10.0.0.1"
        assert settings.web_concurrency == 3
        assert settings.port == 1004
        assert settings.origin("PORT") == "environment"
        assert settings.origin("WEB_CONCURRENCY") == ".env"
        assert settings.origin("WEB_THREADS") == "staging.yaml"
        assert settings.origin("LOG_LEVEL") == "default.yaml"
        assert settings.origin("DB_POOL_SIZE") == "default"

    def test_what_flask_repeats_in_the_environment_came_from_the_file(
        self, base: dict[str, str], tmp_path: Path
    ) -> None:
        env_file = write(tmp_path / ".env", "PORT=1003\nWEB_THREADS=7\n")
        settings = load({**base, "PORT": "1003", "WEB_THREADS": "8"}, tmp_path, env_file)
        assert (settings.port, settings.origin("PORT")) == (1003, ".env")
        assert (settings.web_threads, settings.origin("WEB_THREADS")) == (8, "environment")

    def test_config_path_stands_in_for_the_environment_file(
        self, base: dict[str, str], tmp_path: Path
    ) -> None:
        write(tmp_path / "config/development.yaml", "port: 1002\n")
        chosen = write(
            tmp_path / "mine.yaml", "jainam: {rate_limit: 4}\ntrusted_proxies: [10.0.0.1]\n"
        )
        settings = load({**base, "CONFIG_PATH": str(chosen)}, tmp_path)
        assert settings.port == 5000
        assert settings.jainam.rate_limit == 4
        assert settings.trusted_proxies == ("10.0.0.1",)

    def test_an_empty_variable_gives_back_the_default(
        self, base: dict[str, str], tmp_path: Path
    ) -> None:
        env_file = write(tmp_path / ".env", "PORT=1003\n")
        assert load({**base, "PORT": ""}, tmp_path, env_file).port == 5000

    def test_dotenv_takes_secrets_as_they_are(self, base: dict[str, str], tmp_path: Path) -> None:
        lines = "".join(f"{name}={value}\n" for name, value in CREDENTIALS.items())
        settings = load(base, tmp_path, write(tmp_path / ".env", lines))
        secret = settings.jainam.interactive_api_secret
        assert secret is not None
        assert secret.get_secret_value() == "Sim#b$1001"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("port: 1\nhost: [", "is not valid YAML (line 2)"),
            ("- port", "should be a table of settings"),
        ],
    )
    def test_a_broken_yaml_file_is_named(
        self, base: dict[str, str], tmp_path: Path, text: str, message: str
    ) -> None:
        write(tmp_path / "config/default.yaml", text)
        assert faults(base, tmp_path) == {"default.yaml": message}

    def test_a_missing_config_path_is_a_fault(self, base: dict[str, str], tmp_path: Path) -> None:
        found = faults({**base, "CONFIG_PATH": "absent.yaml"}, tmp_path)
        assert found == {"CONFIG_PATH": "names a file that does not exist"}


class TestSecretFiles:
    def test_a_file_stands_for_its_secret(self, base: dict[str, str], tmp_path: Path) -> None:
        secret = base.pop("SECRET_KEY")
        path = write(tmp_path / "key", f"{secret}\n")
        settings = load({**base, "SECRET_KEY_FILE": str(path)}, tmp_path)
        assert settings.secret_key.get_secret_value() == secret

    def test_a_file_in_the_environment_wins_over_dotenv(
        self, base: dict[str, str], tmp_path: Path
    ) -> None:
        env_file = write(tmp_path / ".env", f"SECRET_KEY={base.pop('SECRET_KEY')}\n")
        newer = secrets.token_hex(32)
        environ = {**base, "SECRET_KEY_FILE": str(write(tmp_path / "key", newer))}
        settings = load(environ, tmp_path, env_file)
        assert settings.secret_key.get_secret_value() == newer

    def test_every_secret_may_come_from_a_file(self) -> None:
        assert {"SECRET_KEY", "DATABASE_URL", "REDIS_URL", "METRICS_TOKEN"} <= SECRETS
        assert set(CREDENTIALS) <= SECRETS
        assert "PORT" not in SECRETS

    def test_faults_of_secret_files(self, base: dict[str, str], tmp_path: Path) -> None:
        environ = {
            **base,
            "SECRET_KEY_FILE": "anything",
            "METRICS_TOKEN_FILE": str(tmp_path / "secret-canary"),
            "REDIS_URL_FILE": str(write(tmp_path / "empty", " \n")),
        }
        found = faults(environ, tmp_path)
        assert found["SECRET_KEY"] == "is set twice: take either it or SECRET_KEY_FILE"
        assert "No such file" in found["METRICS_TOKEN_FILE"]
        assert "canary" not in found["METRICS_TOKEN_FILE"]
        assert found["REDIS_URL_FILE"] == "names an empty file"

    def test_a_file_that_is_no_text(self, base: dict[str, str], tmp_path: Path) -> None:
        path = tmp_path / "binary"
        path.write_bytes(b"\xff\xfe\x00")
        found = faults({**base, "METRICS_TOKEN_FILE": str(path)}, tmp_path)
        assert "it is not text" in found["METRICS_TOKEN_FILE"]


class TestFaults:
    def test_all_faults_at_once_and_no_value(self, base: dict[str, str], tmp_path: Path) -> None:
        environ = {
            **base,
            "PORT": "canary-port",
            "WEB_THREADS": "0",
            "API_RATE_LIMIT": "canary often",
            "DATABASE_URL": "mysql://canary",
            "JAINAM_BASE_URL": "ftp://canary",
            "JAINAM_SYMPHONY_SERVER": "D",
            "JAINAM_INTERACTIVE_API_KEY": "canary-key",
            "TRUSTED_PROXIES": "canary.example",
            "RISK_SQUARE_OFF_TIME": "canary",
            "RISK_MAX_ORDER_VALUE": "nan",
        }
        with pytest.raises(ConfigurationError) as caught:
            load(environ, tmp_path)
        text = str(caught.value)
        assert "canary" not in text
        assert {fault.variable for fault in caught.value.faults} >= {
            "PORT", "WEB_THREADS", "API_RATE_LIMIT", "DATABASE_URL", "JAINAM_BASE_URL",
            "JAINAM_SYMPHONY_SERVER", "JAINAM_INTERACTIVE_API_SECRET", "JAINAM_MARKET_API_KEY",
            "JAINAM_MARKET_API_SECRET", "TRUSTED_PROXIES", "RISK_SQUARE_OFF_TIME",
            "RISK_MAX_ORDER_VALUE",
        }  # fmt: skip
        assert text.startswith("The configuration has 12 faults:\n  ")

    def test_a_fault_does_not_breed_others(self, base: dict[str, str], tmp_path: Path) -> None:
        found = faults(
            {**base, "PORT": "x", "DATABASE_URL": "x", "REDIS_URL": "redis://h"}, tmp_path
        )
        assert set(found) == {"PORT", "DATABASE_URL"}

    @pytest.mark.parametrize(
        ("name", "nearest"),
        [
            ("RISK_MAX_ORDER_QUANTITTY", "RISK_MAX_ORDER_QUANTITY"),
            ("JAINAM_RATELIMIT", "JAINAM_RATE_LIMIT"),
        ],
    )
    def test_a_misspelt_limit_is_a_fault(
        self, base: dict[str, str], tmp_path: Path, name: str, nearest: str
    ) -> None:
        assert f"did you mean {nearest}?" in faults({**base, name: "3"}, tmp_path)[name]

    def test_a_misspelt_key_in_yaml_is_a_fault(self, base: dict[str, str], tmp_path: Path) -> None:
        write(tmp_path / "config/default.yaml", "prot: 5001\n")
        assert "did you mean PORT?" in faults(base, tmp_path)["PROT"]

    def test_foreign_variables_are_nobody_s_business(
        self, base: dict[str, str], tmp_path: Path
    ) -> None:
        assert load({**base, "PATH": "/bin", "SOMETHING_ENABLED": "x"}, tmp_path).port == 5000


class TestSecrets:
    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ("", "is not set"),
            ("short", "at least 32 characters"),
            ("change-me-change-me-change-me-change-me", "placeholder"),
            ("abababababababababababababababababab", "too regular"),
        ],
    )
    def test_a_weak_secret_key_is_refused(
        self, base: dict[str, str], tmp_path: Path, value: str, message: str
    ) -> None:
        found = faults({**base, "SECRET_KEY": value}, tmp_path)
        assert message in found["SECRET_KEY"]
        assert "secrets.token_hex(32)" in found["SECRET_KEY"]

    def test_one_secret_for_two_purposes_is_refused(
        self, base: dict[str, str], tmp_path: Path
    ) -> None:
        found = faults({**base, "API_KEY_PEPPER": base["SECRET_KEY"]}, tmp_path)
        assert "differ" in found["SECRET_KEY"]

    def test_a_short_metrics_token_is_refused(self, base: dict[str, str], tmp_path: Path) -> None:
        assert "16" in faults({**base, "METRICS_TOKEN": "short"}, tmp_path)["METRICS_TOKEN"]

    def test_the_backup_key_is_demanded_where_data_is_worth_keeping(
        self, base: dict[str, str], tmp_path: Path
    ) -> None:
        del base["BACKUP_KEY"]
        assert load(base, tmp_path).backup_key.get_secret_value() == ""
        assert "BACKUP_KEY" in faults({**base, "ENVIRONMENT": "staging"}, tmp_path)


class TestSandbox:
    def test_credentials_end_the_sandbox(self, base: dict[str, str], tmp_path: Path) -> None:
        settings = load({**base, **CREDENTIALS}, tmp_path)
        assert settings.sandbox is False
        assert settings.jainam.has_credentials
        assert set(settings.jainam.credentials()) == {
            "interactive_api_key", "interactive_api_secret", "market_api_key", "market_api_secret",
        }  # fmt: skip

    @pytest.mark.parametrize("environment", ["staging", "production", "testing"])
    def test_only_development_is_a_sandbox_unasked(
        self, base: dict[str, str], tmp_path: Path, environment: str
    ) -> None:
        environ = {**base, **CREDENTIALS, "ENVIRONMENT": environment}
        assert load(environ, tmp_path).sandbox is False

    def test_production_without_credentials_refuses(
        self, base: dict[str, str], tmp_path: Path
    ) -> None:
        found = faults({**base, "ENVIRONMENT": "production"}, tmp_path)
        assert "SANDBOX=true" in found["JAINAM_INTERACTIVE_API_KEY"]
        asked = {**base, "ENVIRONMENT": "production", "SANDBOX": "true"}
        assert load(asked, tmp_path).sandbox is True

    def test_a_sandbox_never_holds_real_credentials(
        self, base: dict[str, str], tmp_path: Path
    ) -> None:
        found = faults({**base, **CREDENTIALS, "SANDBOX": "true"}, tmp_path)
        assert "real host" in found["SANDBOX"]
        local = {**base, **CREDENTIALS, "SANDBOX": "true", "JAINAM_BASE_URL": "http://[::1]:7443"}
        assert load(local, tmp_path).sandbox is True

    def test_the_running_simulator_is_found(self, base: dict[str, str], tmp_path: Path) -> None:
        lines = "".join(f"{name}='{value}'\n" for name, value in CREDENTIALS.items())
        lines += "JAINAM_BASE_URL='http://127.0.0.1:7555'\nSANDBOX='true'\n"
        write(tmp_path / "run/5001/sandbox.env", lines)
        settings = load({**base, "PORT": "5001"}, tmp_path)
        assert settings.sandbox is True
        assert settings.jainam.base_url == "http://127.0.0.1:7555"
        assert settings.jainam.has_credentials
        assert load(base, tmp_path).jainam.base_url == ""

    @pytest.mark.parametrize(
        "environ",
        [
            {"SANDBOX": "false"},
            {"ENVIRONMENT": "testing"},
            {name.replace("JAINAM", "WISDOM"): value for name, value in CREDENTIALS.items()},
        ],
    )
    def test_no_simulator_outside_the_sandbox(
        self, base: dict[str, str], tmp_path: Path, environ: dict[str, str]
    ) -> None:
        write(tmp_path / "run/5000/sandbox.env", "JAINAM_BASE_URL='http://127.0.0.1:7555'\n")
        assert load({**base, **environ}, tmp_path).jainam.base_url == ""


class TestRules:
    def test_limits_are_off_on_loopback_alone(self, base: dict[str, str], tmp_path: Path) -> None:
        environ = {**base, **CREDENTIALS, "BROKER_LIMITS": "off"}
        assert "on this machine" in faults(environ, tmp_path)["BROKER_LIMITS"]
        local = {**environ, "JAINAM_BASE_URL": "http://127.0.0.1:7443"}
        assert load(local, tmp_path).broker_limits == "off"
        assert load({**base, "BROKER_LIMITS": "off"}, tmp_path).broker_limits == "off"
        nobody = {**base, "BROKER_LIMITS": "off", "SANDBOX": "false"}
        assert "BROKER_LIMITS" in faults(nobody, tmp_path)

    def test_redis_needs_postgres(self, base: dict[str, str], tmp_path: Path) -> None:
        environ = {**base, "REDIS_URL": "redis://127.0.0.1:6379/0"}
        assert "DATABASE_URL" in faults(environ, tmp_path)["REDIS_URL"]
        shared = load({**environ, "DATABASE_URL": "postgresql://u:p@h/db"}, tmp_path)
        assert not shared.is_sqlite
        assert shared.database_url.get_secret_value() == "postgresql+psycopg://u:p@h/db"

    def test_redis_has_its_schemes(self, base: dict[str, str], tmp_path: Path) -> None:
        assert "redis://" in faults({**base, "REDIS_URL": "http://h"}, tmp_path)["REDIS_URL"]

    def test_a_normal_dealer_names_its_client(self, base: dict[str, str], tmp_path: Path) -> None:
        environ = {**base, **CREDENTIALS, "JAINAM_ACCOUNT_TYPE": "normal"}
        assert "name it" in faults(environ, tmp_path)["JAINAM_CLIENT_ID"]
        named = load({**environ, "JAINAM_CLIENT_ID": "CLIENT01"}, tmp_path)
        assert (named.jainam.account_type, named.jainam.client_id) == ("NORMAL", "CLIENT01")

    def test_a_bucket_goes_with_its_keys(self, base: dict[str, str], tmp_path: Path) -> None:
        found = faults({**base, "BACKUP_S3_BUCKET": "copies", "BACKUP_KEY": ""}, tmp_path)
        assert set(found) == {"BACKUP_S3_ACCESS_KEY", "BACKUP_S3_SECRET_KEY", "BACKUP_KEY"}

    def test_backups_lie_beside_the_sqlite_file(
        self, base: dict[str, str], tmp_path: Path
    ) -> None:
        url = {"DATABASE_URL": f"sqlite:///{tmp_path}/data/openalgo.db"}
        assert load({**base, **url}, tmp_path).backup_dir == tmp_path / "data" / "backups"

    def test_what_an_operator_set_is_given_to_the_backup(
        self, base: dict[str, str], tmp_path: Path
    ) -> None:
        write(tmp_path / "config" / "default.yaml", "web_threads: 3\n")
        environ = {**base, "LOG_LEVEL": "ERROR", "PATH": "/bin", "ACME_ENABLED": "false"}
        found = given(load(environ, tmp_path))
        assert found == {
            "LOG_LEVEL": "ERROR", "ACME_ENABLED": "false", "SECRET_KEY": base["SECRET_KEY"],
            "API_KEY_PEPPER": base["API_KEY_PEPPER"],
        }

    def test_the_feed_has_a_port_of_its_own(self, base: dict[str, str], tmp_path: Path) -> None:
        assert "WEBSOCKET_PORT" in faults({**base, "PORT": "8765"}, tmp_path)

    @pytest.mark.parametrize(
        ("url", "message"),
        [
            ("http://exchange.example:4143", "https"),
            ("https://exchange.example/interactive", "scheme, host and port alone"),
            ("https://user@exchange.example", "scheme, host and port alone"),
            ("https://exchange.example:99999", "scheme, host and port alone"),
            ("https://exchange.example:0", "port"),
        ],
    )
    def test_a_base_url_is_a_host_and_encrypted(
        self, base: dict[str, str], tmp_path: Path, url: str, message: str
    ) -> None:
        assert message in faults({**base, "JAINAM_BASE_URL": url}, tmp_path)["JAINAM_BASE_URL"]


class TestValues:
    def test_values_are_typed(self, base: dict[str, str], tmp_path: Path) -> None:
        environ = {
            **base,
            "MASTER_CONTRACT_EXCHANGES": "nse, nfo,",
            "TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8",
            "LOG_LEVEL": "warning",
            "LOG_DIR": "elsewhere",
            "DATABASE_URL": "sqlite:///db/two.db?timeout=3",
        }
        settings = load(environ, tmp_path)
        assert settings.master_contract_exchanges == ("NSE", "NFO")
        assert settings.trusted_proxies == ("127.0.0.1", "10.0.0.0/8")
        assert settings.log_level == settings.log_console_level == "WARNING"
        assert settings.log_dir.is_absolute()
        url = settings.database_url.get_secret_value()
        assert url.startswith("sqlite:////")
        assert url.endswith("/db/two.db?timeout=3")

    def test_money_is_decimal(self) -> None:
        settings = Settings(risk_max_order_value="500000.50", risk_square_off_time="15:15")
        assert settings.risk_max_order_value == Decimal("500000.50")

    def test_production_has_its_own_defaults(self, base: dict[str, str], tmp_path: Path) -> None:
        settings = load({**base, **CREDENTIALS, "ENVIRONMENT": "Production"}, tmp_path)
        assert settings.log_dir == Path("/var/log/openalgo")
        assert settings.session_cookie_secure is True

    def test_a_broker_is_found_by_its_name(self, base: dict[str, str], tmp_path: Path) -> None:
        environ = {
            **base,
            "JAINAM_ENABLED": "false",
            "ACME_ENABLED": "no",
            "ACME_MARKET_API_KEY": "acme-key",
            "ODD_ENABLED": "canary",
        }
        settings = load(environ, tmp_path)
        assert settings.broker("jainam_prop") is settings.jainam
        assert settings.broker("jainam_prop").enabled is False
        assert settings.broker("wisdom").enabled is True
        acme = settings.broker("acme_prop")
        assert acme.enabled is False
        assert set(acme.credentials()) == {"market_api_key"}
        assert "acme-key" not in repr(acme)
        assert settings.broker("unheard_of").enabled is True
        with pytest.raises(ConfigurationError, match="ODD_ENABLED") as caught:
            settings.broker("odd")
        assert "canary" not in str(caught.value)

    def test_what_people_see_of_a_value(self, base: dict[str, str], tmp_path: Path) -> None:
        settings = load({**base, "ENABLED_BROKERS": "wisdom,acme"}, tmp_path)
        assert display(settings, "SECRET_KEY") == "(set)"
        assert display(settings, "METRICS_TOKEN") == "(not set)"
        assert display(settings, "ENABLED_BROKERS") == "wisdom,acme"
        assert display(settings, "CONFIG_PATH") == ""
        assert display(settings, "JAINAM_RATE_LIMIT") == "10"
        assert all(value_of(settings, name) is not ... for name in PATHS)
