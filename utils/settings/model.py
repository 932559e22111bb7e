"""`Settings`: every variable of the gateway, with its type, default, bounds and meaning.

One field is one variable: `port` is `PORT`, `jainam.rate_limit` is `JAINAM_RATE_LIMIT`. The texts
here are the documentation: `.env.example` and `docs/configuration.md` are generated from them.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import PrivateAttr, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from utils.settings.brokers import BrokerSettings, JainamSettings
from utils.settings.faults import ConfigurationError, from_validation
from utils.settings.kinds import (
    ROOT,
    BaseUrl,
    ClockTime,
    CommaList,
    DatabaseUrl,
    Lower,
    Networks,
    ProjectPath,
    RateLimit,
    RedisUrl,
    Upper,
    UpperList,
    setting,
)
from utils.settings.layers import Variables

_PRODUCTION_LOGS = Path("/var/log/openalgo")

Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


def _default_console_level(values: dict[str, Any]) -> Any:
    return values["log_level"]


def _default_log_dir(values: dict[str, Any]) -> Path:
    return _PRODUCTION_LOGS if values.get("environment") == "production" else ROOT / "log"


def _default_backup_dir(values: dict[str, Any]) -> Path:
    url = values["database_url"].get_secret_value() if "database_url" in values else ""
    if url.startswith("sqlite"):
        return Path(url.split(":///", 1)[1].partition("?")[0]).parent / "backups"
    return ROOT / "db" / "backups"


def _default_sample_rate(values: dict[str, Any]) -> float:
    return 0.1 if values.get("environment") in ("production", "staging") else 1.0


def _default_cookie_secure(values: dict[str, Any]) -> bool:
    return values.get("environment") in ("production", "staging")


def _default_sandbox(values: dict[str, Any]) -> bool:
    sections = [value for value in values.values() if isinstance(value, BrokerSettings)]
    has_any = any(section.credentials() for section in sections)
    return values.get("environment") == "development" and not has_any


class Settings(BaseSettings):
    """The validated configuration. Immutable; build it with `utils.config.load_settings`."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, str_strip_whitespace=True
    )
    _variables: Variables = PrivateAttr(default_factory=Variables)

    environment: Annotated[Literal["development", "staging", "production", "testing"], Lower] = (
        setting(
            "General",
            "development",
            "kind of installation; picks config/<ENVIRONMENT>.yaml",
            example="production",
        )
    )
    config_path: Path | None = setting(
        "General",
        None,
        "a YAML file to read in place of config/<ENVIRONMENT>.yaml",
        example="/etc/openalgo/gateway.yaml",
    )

    host: str = setting("Server", "127.0.0.1", "address to serve on", example="0.0.0.0")  # noqa: S104 - an example in a document
    port: int = setting("Server", 5000, "port to serve on", ge=1, le=65535, example="5001")
    web_concurrency: int = setting(
        "Server", 1, "gunicorn worker processes", ge=1, le=64, example="2"
    )
    web_threads: int = setting("Server", 32, "threads of each worker", ge=1, le=512, example="16")
    run_jobs: bool = setting(
        "Server",
        True,
        "whether the web workers do the scheduled work, one of them at a time; false leaves it to "
        "a process of its own, `flask --app app jobs run`",
        example="false",
    )
    trusted_proxies: Networks = setting(
        "Server",
        (),
        "addresses of the proxies whose X-Forwarded-For is believed, separated by commas",
        example="127.0.0.1",
    )
    websocket_host: str = setting(
        "Server",
        "127.0.0.1",
        "address of the feed server",
        example="0.0.0.0",  # noqa: S104 - an example in a document
    )
    websocket_port: int = setting(
        "Server", 8765, "port of the feed server", ge=1, le=65535, example="8766"
    )

    secret_key: SecretStr = setting(
        "Secrets",
        SecretStr(""),
        "seals sessions and stored credentials; at least 32 random characters. Losing it loses "
        "the stored broker credentials",
        default_text="written to .env at the first start in development",
    )
    api_key_pepper: SecretStr = setting(
        "Secrets",
        SecretStr(""),
        "mixed into the hashes of API keys; at least 32 random characters. Changing it voids "
        "every API key",
        default_text="written to .env at the first start in development",
    )
    backup_key: SecretStr = setting(
        "Secrets",
        SecretStr(""),
        "encrypts backups; at least 32 random characters. Keep a copy off this host: without it "
        "no backup can be read",
        default_text="written to .env at the first start in development",
    )
    secret_key_previous: SecretStr | None = setting(
        "Secrets", None, "the SECRET_KEY of before, which still opens what it sealed while it is "
        "rotated (flask secrets rotate)"
    )
    api_key_pepper_previous: SecretStr | None = setting(
        "Secrets", None, "the API_KEY_PEPPER of before: keys hashed with it still work, and are "
        "hashed anew when they are used"
    )
    backup_key_previous: SecretStr | None = setting(
        "Secrets", None, "the BACKUP_KEY of before, which still opens older backups"
    )
    metrics_token_previous: SecretStr | None = setting(
        "Secrets", None, "the METRICS_TOKEN of before, accepted until every scraper has the new one"
    )
    secrets_command: str = setting(
        "Secrets",
        "",
        "a command that prints secrets at every start, as a JSON object or NAME=value lines: the "
        "way to a secrets manager. No shell runs it",
        example="aws secretsmanager get-secret-value --secret-id openalgo "
        "--query SecretString --output text",
    )
    metrics_token: SecretStr | None = setting(
        "Secrets", None, "bearer token that may read /metrics from elsewhere than this machine"
    )
    session_lifetime: int = setting(
        "Secrets", 43_200, "seconds that a web login lasts", ge=300, le=2_592_000, example="28800"
    )
    session_cookie_secure: bool = setting(
        "Secrets",
        _default_cookie_secure,
        "send the login cookie over HTTPS alone",
        example="true",
        default_text="true in production and staging",
    )

    database_url: DatabaseUrl = setting(
        "Storage",
        SecretStr(f"sqlite:///{ROOT / 'db' / 'openalgo.db'}"),
        "SQLite file, or PostgreSQL when several hosts share it",
        example="postgresql://openalgo:PASSWORD@127.0.0.1:5432/openalgo",
        default_text="sqlite:///db/openalgo.db",
    )
    redis_url: RedisUrl = setting(
        "Storage",
        None,
        "Redis for the limits and locks of several hosts; needs PostgreSQL",
        example="redis://127.0.0.1:6379/0",
    )
    state_dir: ProjectPath = setting(
        "Storage",
        ROOT / "run",
        "folder of the locks, counters and metrics that the processes of this host share",
        example="/var/lib/openalgo/run",
        default_text="run/; with SQLite, locks and counters stand beside the database",
    )
    db_pool_size: int = setting(
        "Storage", 5, "PostgreSQL connections kept by a process", ge=1, le=100, example="10"
    )
    db_max_overflow: int = setting(
        "Storage", 10, "PostgreSQL connections above the pool", ge=0, le=100, example="20"
    )

    log_level: Annotated[Level, Upper] = setting(
        "Logs and metrics", "INFO", "least level that is logged", example="WARNING"
    )
    log_console_level: Annotated[Level, Upper] = setting(
        "Logs and metrics",
        _default_console_level,
        "least level that is shown on the console",
        example="ERROR",
        default_text="LOG_LEVEL; WARNING under `make run`",
    )
    log_dir: ProjectPath = setting(
        "Logs and metrics",
        _default_log_dir,
        "folder of app.log, error.log and access.log",
        example="/var/log/openalgo",
        default_text="log/; /var/log/openalgo in production",
    )
    certificate_hosts: CommaList = setting(
        "Logs and metrics",
        (),
        "hosts whose TLS certificates are watched (host or host:port), separated by commas",
        example="trade.example.com",
        default_text="none",
    )
    log_sample_rate: float = setting(
        "Logs and metrics",
        _default_sample_rate,
        "share of ordinary requests that get a line in access.log; errors, slow ones and orders "
        "always do",
        ge=0,
        le=1,
        example="1",
        default_text="0.1 in staging and production, else 1",
        allow_inf_nan=False,
    )
    enable_metrics: bool = setting(
        "Logs and metrics", True, "serve Prometheus metrics at /metrics", example="false"
    )

    api_rate_limit: RateLimit = setting(
        "Inbound limits",
        "50 per second",
        "calls not named below, by API key",
        example="20 per second",
    )
    order_rate_limit: RateLimit = setting(
        "Inbound limits",
        "50 per second",
        "placeorder, modifyorder, cancelorder",
        example="10 per second",
    )
    smart_order_rate_limit: RateLimit = setting(
        "Inbound limits", "50 per second", "placesmartorder", example="10 per second"
    )
    login_rate_limit: RateLimit = setting(
        "Inbound limits",
        "5 per minute;25 per hour",
        "web logins, by address",
        example="3 per minute",
    )
    order_queue_wait: float = setting(
        "Inbound limits",
        7.0,
        "seconds that an order may wait for its turn before it is refused with 429",
        ge=0,
        le=60,
        example="3",
        allow_inf_nan=False,
    )

    enabled_brokers: CommaList = setting(
        "Brokers",
        (),
        "names of the brokers to offer, separated by commas",
        example="jainam_prop,wisdom",
        default_text="all",
    )
    broker_limits: Annotated[Literal["published", "off"], Lower] = setting(
        "Brokers",
        "published",
        "hold the broker's published call limits, or off (benchmarks against this machine alone)",
        example="off",
    )
    master_contract_exchanges: UpperList = setting(
        "Brokers",
        (),
        "exchanges of the master contract to load, separated by commas",
        example="NSE,NFO",
        default_text="every exchange of the broker",
    )
    reconcile_interval: float = setting(
        "Brokers",
        2.0,
        "seconds between two runs of the reconciler; absence needs three reads over ten seconds",
        ge=1,
        le=3600,
        example="5",
        allow_inf_nan=False,
    )
    jainam: JainamSettings = JainamSettings()
    wisdom: BrokerSettings = BrokerSettings()

    sandbox: bool = setting(
        "Sandbox",
        _default_sandbox,
        "trade with the simulator on this machine; never reaches an exchange",
        example="true",
        default_text="true in development while no credentials are set, else false",
    )
    simulator_port: int = setting(
        "Sandbox", 7443, "port of the simulator", ge=0, le=65535, example="7444"
    )
    simulator_master: Annotated[Literal["full", "small"], Lower] = setting(
        "Sandbox", "full", "size of the simulated master contract", example="small"
    )

    risk_max_order_quantity: int | None = setting(
        "Risk", None, "largest quantity of one order", gt=0, example="1800", default_text="off"
    )
    risk_max_order_value: Decimal | None = setting(
        "Risk", None, "largest value of one order, ₹", gt=0, example="500000", default_text="off"
    )
    risk_max_position_quantity: int | None = setting(
        "Risk",
        None,
        "largest position in one symbol, orders that work included",
        gt=0,
        example="9000",
        default_text="off",
    )
    risk_max_position_percent: Decimal | None = setting(
        "Risk",
        None,
        "largest value of a position in one symbol, orders that work included, % of capital",
        gt=0,
        le=1000,
        example="20",
        default_text="off",
    )
    risk_per_trade_percent: Decimal | None = setting(
        "Risk",
        None,
        "most that one trade may lose to its trigger, or to a working stop, % of capital; "
        "without either all that it is worth",
        gt=0,
        le=100,
        example="2",
        default_text="off",
    )
    risk_max_open_orders: int | None = setting(
        "Risk", None, "most working orders of an account", gt=0, example="50", default_text="off"
    )
    risk_max_daily_loss: Decimal | None = setting(
        "Risk",
        None,
        "loss of the day that stops entries, ₹",
        gt=0,
        example="25000",
        default_text="off",
    )
    risk_max_drawdown_percent: Decimal | None = setting(
        "Risk",
        None,
        "fall from the day's best result that stops entries, % of capital",
        gt=0,
        le=100,
        example="5",
        default_text="off",
    )
    risk_price_band_percent: Decimal | None = setting(
        "Risk",
        None,
        "furthest a limit or trigger price may be from the last price, %",
        gt=0,
        le=100,
        example="5",
        default_text="off",
    )
    risk_max_orders_per_day: int | None = setting(
        "Risk", None, "most orders of an account in a day", gt=0, example="500", default_text="off"
    )
    risk_allowed_exchanges: UpperList = setting(
        "Risk",
        (),
        "exchanges that may be traded, separated by commas",
        example="NSE,NFO",
        default_text="all",
    )
    risk_allowed_products: UpperList = setting(
        "Risk",
        (),
        "products that may be traded, separated by commas",
        example="MIS,NRML",
        default_text="all",
    )
    risk_square_off_time: ClockTime | None = setting(
        "Risk",
        None,
        "time of day (IST) after which an intraday entry is warned about",
        example="15:15",
        default_text="off",
    )

    backup_dir: ProjectPath = setting(
        "Backup",
        _default_backup_dir,
        "folder of the backups",
        example="/var/backups/openalgo",
        default_text="backups/ beside the SQLite file; db/backups with PostgreSQL",
    )
    backup_interval: int = setting(
        "Backup", 900, "seconds between two backups", ge=60, le=86_400, example="3600"
    )
    backup_retention_days: int = setting(
        "Backup",
        30,
        "days for which the last backup of a day is kept; of the last two days every one is",
        ge=1,
        le=3650,
        example="90",
    )
    backup_keep: int = setting(
        "Backup", 7, "newest backups that are kept whatever their age", ge=1, le=1000, example="14"
    )
    backup_s3_bucket: str = setting(
        "Backup", "", "bucket for copies off the site; empty: none", example="openalgo-backups"
    )
    backup_s3_endpoint: BaseUrl = setting(
        "Backup",
        "",
        "scheme, host and port of an S3-compatible store; https, unless on this machine",
        example="https://s3.ap-south-1.amazonaws.com",
        default_text="the AWS endpoint of BACKUP_S3_REGION",
    )
    backup_s3_region: str = setting(
        "Backup", "ap-south-1", "region that requests are signed for", example="us-east-1"
    )
    backup_s3_prefix: str = setting(
        "Backup", "openalgo/", "what the names in the bucket begin with", example="prod-1/"
    )
    backup_s3_access_key: SecretStr | None = setting(
        "Backup", None, "access key of the bucket; it needs to list, read, write and delete there"
    )
    backup_s3_secret_key: SecretStr | None = setting(
        "Backup", None, "secret that goes with the access key"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is handed in: `utils.config` merges the layers, the environment among them."""
        return (init_settings,)

    def broker(self, name: str) -> BrokerSettings:
        """The section of a broker, by the broker's name (`jainam_prop` reads `JAINAM_…`).

        A broker without a section here gets one from its variables, `ACME_ENABLED` and so on;
        `ConfigurationError` when those are faulty.
        """
        prefix = name.split("_")[0].lower()
        section = self.broker_sections().get(prefix)
        if section is not None:
            return section
        try:
            return BrokerSettings.model_validate(self._variables.section(prefix, BrokerSettings))
        except ValidationError as error:
            raise ConfigurationError(from_validation(error, prefix)) from None

    def broker_sections(self) -> dict[str, BrokerSettings]:
        """The sections that this class documents, by lower-case prefix."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in values.items() if isinstance(value, BrokerSettings)}

    def origin(self, variable: str) -> str:
        """Which layer gave a variable its value: "environment", ".env", a file, or "default"."""
        return self._variables.origin(variable)

    @property
    def database_name(self) -> str:
        """The name of the database at its server; of SQLite, the path."""
        return urlsplit(self.database_url.get_secret_value()).path.strip("/")

    @property
    def warnings(self) -> tuple[str, ...]:
        """What works today and will not for ever, in sentences: names that were given up."""
        return tuple(self._variables.warnings)

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a file of this host."""
        return self.database_url.get_secret_value().startswith("sqlite")
