"""Rules between settings: what each value allows alone, but not together with another.

Each rule yields faults; `utils.config` runs all of them, so that a start says everything at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pydantic import SecretStr

from utils.settings.brokers import CREDENTIAL_FIELDS, BrokerSettings, JainamSettings
from utils.settings.faults import Fault
from utils.settings.layers import variable
from utils.settings.model import Settings

SHORTEST_SECRET = 32
_FEWEST_CHARACTERS = 10
_PLACEHOLDERS = (
    "change", "example", "placeholder", "password", "replace", "secret", "your_", "your-", "xxxxxx",
)  # fmt: skip


def _weakness(secret: SecretStr) -> str | None:
    value = secret.get_secret_value()
    if len(value) < SHORTEST_SECRET:
        return f"should have at least {SHORTEST_SECRET} characters"
    if any(word in value.lower() for word in _PLACEHOLDERS):
        return "is a placeholder: it should be random"
    if len(set(value)) < _FEWEST_CHARACTERS:
        return "is too regular: it should be random"
    return None


def secrets_are_strong(settings: Settings) -> Iterator[Fault]:
    """SECRET_KEY and API_KEY_PEPPER always, BACKUP_KEY where data is worth keeping."""
    serious = settings.environment in ("production", "staging")
    required = {"SECRET_KEY": settings.secret_key, "API_KEY_PEPPER": settings.api_key_pepper}
    optional = {"BACKUP_KEY": settings.backup_key}
    make = 'make one with python3 -c "import secrets; print(secrets.token_hex(32))"'
    for name, secret in {**required, **optional}.items():
        if not secret.get_secret_value():
            if name in required or serious:
                yield Fault(name, f"is not set: {make}")
            continue
        weakness = _weakness(secret)
        if weakness:
            yield Fault(name, f"{weakness}; {make}")
    values = [secret.get_secret_value() for secret in (*required.values(), *optional.values())]
    given = [value for value in values if value]
    if len(set(given)) < len(given):
        yield Fault("SECRET_KEY", "and API_KEY_PEPPER and BACKUP_KEY should differ from each other")
    token = settings.metrics_token
    if token is not None and len(token.get_secret_value()) < 16:
        yield Fault("METRICS_TOKEN", "should have at least 16 characters")


def credentials_are_complete(settings: Settings) -> Iterator[Fault]:
    """All four credentials of a broker or none; a NORMAL dealer names its client."""
    for prefix, section in settings.broker_sections().items():
        given = section.credentials()
        if not given:
            continue
        for name in CREDENTIAL_FIELDS:
            if name not in given:
                yield Fault(
                    variable(prefix, name),
                    "is missing: the four credentials go together, set all of them or none",
                )
        normal = isinstance(section, JainamSettings) and section.account_type == "NORMAL"
        if normal and not section.client_id:
            yield Fault(
                variable(prefix, "client_id"),
                "is missing: a NORMAL dealer trades for a client, name it",
            )


def _real(section: BrokerSettings) -> bool:
    return bool(section.credentials()) and not section.on_loopback


def sandbox_is_no_accident(settings: Settings) -> Iterator[Fault]:
    """A sandbox never holds credentials that reach a real host; production is never one unasked."""
    sections = settings.broker_sections()
    if settings.sandbox:
        for prefix, section in sections.items():
            if _real(section):
                yield Fault(
                    "SANDBOX",
                    f"is on, but {variable(prefix)}_… credentials are set that lead to a real "
                    f"host: unset either them or SANDBOX",
                )
        return
    if settings.environment == "production" and not any(
        section.credentials() for section in sections.values()
    ):
        yield Fault(
            "JAINAM_INTERACTIVE_API_KEY",
            "is missing: production needs the credentials of a broker, "
            "or SANDBOX=true to trade with the simulator",
        )


def limits_protect_real_hosts(settings: Settings) -> Iterator[Fault]:
    """`BROKER_LIMITS=off` is for loopback alone."""
    if settings.broker_limits == "published":
        return
    sections = list(settings.broker_sections().values())
    local = settings.sandbox or any(section.on_loopback for section in sections)
    if not local or any(_real(section) for section in sections):
        yield Fault("BROKER_LIMITS", "may be off only while every broker is on this machine")


def bucket_is_complete(settings: Settings) -> Iterator[Fault]:
    """A bucket needs its two keys, and a key that seals what goes there."""
    if not settings.backup_s3_bucket:
        return
    for name in ("backup_s3_access_key", "backup_s3_secret_key"):
        if getattr(settings, name) is None:
            yield Fault(variable(name), "is missing: BACKUP_S3_BUCKET can't be used without it")
    if not settings.backup_key.get_secret_value():
        yield Fault("BACKUP_KEY", "is missing: nothing goes to BACKUP_S3_BUCKET unsealed")


def storage_can_be_shared(settings: Settings) -> Iterator[Fault]:
    """Redis says that there are several hosts; those need PostgreSQL as well."""
    if settings.redis_url is not None and settings.is_sqlite:
        yield Fault(
            "REDIS_URL",
            "is for several hosts, which can't share SQLite: set DATABASE_URL to PostgreSQL, "
            "or leave REDIS_URL out on a single host",
        )
    if settings.port == settings.websocket_port:
        yield Fault("WEBSOCKET_PORT", "should differ from PORT")


Rule = Callable[[Settings], Iterator[Fault]]

RULES: tuple[tuple[Rule, tuple[str, ...]], ...] = (
    (secrets_are_strong, ("ENVIRONMENT",)),
    (credentials_are_complete, ("JAINAM_ACCOUNT_TYPE",)),
    (sandbox_is_no_accident, ("ENVIRONMENT", "SANDBOX", "JAINAM_BASE_URL", "WISDOM_BASE_URL")),
    (limits_protect_real_hosts, ("SANDBOX", "JAINAM_BASE_URL", "WISDOM_BASE_URL")),
    (bucket_is_complete, ()),
    (storage_can_be_shared, ("DATABASE_URL", "PORT", "WEBSOCKET_PORT")),
)
"""Every rule, and the variables without which its verdict would mislead."""
