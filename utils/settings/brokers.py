"""What a broker is configured with: `<NAME>_…` variables, the same for every broker.

The prefix of a broker is the first word of its name in capitals: `jainam_prop` reads `JAINAM_…`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, SecretStr

from utils.settings.kinds import BaseUrl, Upper, loopback_url, setting

CREDENTIAL_FIELDS = (
    "interactive_api_key",
    "interactive_api_secret",
    "market_api_key",
    "market_api_secret",
)


class BrokerSettings(BaseModel):
    """One broker's part of the environment. Times in seconds, rates in orders a second."""

    model_config = ConfigDict(
        frozen=True, extra="ignore", hide_input_in_errors=True, str_strip_whitespace=True
    )

    interactive_api_key: SecretStr | None = setting(
        "Brokers",
        None,
        "key of the interactive (order) API; the four credentials go together, and once they are "
        "set orders go to the real exchange",
    )
    interactive_api_secret: SecretStr | None = setting(
        "Brokers", None, "secret of the interactive API"
    )
    market_api_key: SecretStr | None = setting("Brokers", None, "key of the market-data API")
    market_api_secret: SecretStr | None = setting("Brokers", None, "secret of the market-data API")
    client_id: str = setting(
        "Brokers",
        "",
        "client id to trade for",
        example="CLIENT01",
        default_text="by the broker's rule",
    )
    base_url: BaseUrl = setting(
        "Brokers",
        "",
        "overrides scheme, host and port of the broker (tests, proxies)",
        example="http://127.0.0.1:7443",
        default_text="the broker's own hosts",
    )
    enabled: bool = setting(
        "Brokers",
        True,
        "off blocks entries and hides the broker; cancels, exits and reads go on",
        example="false",
    )
    api_timeout: float = setting(
        "Brokers",
        10.0,
        "seconds that one request of ours may spend on the broker in all: waiting, call, look-up",
        ge=1,
        le=60,
        example="8",
        allow_inf_nan=False,
    )
    rate_limit: int = setting(
        "Brokers",
        10,
        "orders a second (place and modify, per session), up to 1,000,000",
        ge=1,
        le=1_000_000,
        example="5",
    )
    retry_count: int = setting(
        "Brokers", 3, "how often a read is repeated; an order never is", ge=0, le=10, example="2"
    )

    def credentials(self) -> dict[str, SecretStr]:
        """The credentials that are set, by field name such as `interactive_api_key`."""
        values = {name: getattr(self, name) for name in CREDENTIAL_FIELDS}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def has_credentials(self) -> bool:
        """Whether all four credentials are set."""
        return len(self.credentials()) == len(CREDENTIAL_FIELDS)

    @property
    def on_loopback(self) -> bool:
        """Whether calls go to this machine and not to a real host."""
        return loopback_url(self.base_url)


class JainamSettings(BrokerSettings):
    """Jainam Prop's part: it has clusters and kinds of dealers on top."""

    symphony_server: Annotated[Literal["A", "B", "C"], Upper] = setting(
        "Brokers", "B", "cluster that the account lives on", example="C"
    )
    account_type: Annotated[Literal["PRO", "NORMAL"], Upper] = setting(
        "Brokers",
        "PRO",
        "PRO or NORMAL dealer; a NORMAL dealer needs JAINAM_CLIENT_ID",
        example="NORMAL",
    )
    host_lookup: bool = setting(
        "Brokers",
        True,
        "find the server through the host lookup; direct login is the fallback",
        example="false",
    )
