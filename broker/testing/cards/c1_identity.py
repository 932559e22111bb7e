"""C1 Identity and declaration: what a broker says of itself before anybody logs in."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from broker.base import Operation
from broker.errors import SessionExpired
from broker.models import Exchange
from broker.registry import discover
from broker.testing.cards.base import Cards, MakeDesk
from broker.testing.desk import Desk, hidden
from broker.testing.harness import BrokerHarness

_NAME = re.compile(r"[a-z][a-z0-9_]{1,39}")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


class IdentityCards(Cards):
    """C1."""

    def test_c1_010_has_a_name_and_a_title(self, harness: BrokerHarness) -> None:
        info = harness.broker.info
        assert _NAME.fullmatch(info.name)
        assert info.title.strip() == info.title != ""

    def test_c1_020_names_the_credentials_it_needs(self, harness: BrokerHarness) -> None:
        fields = harness.broker.info.credentials
        names = [each.name for each in fields]
        assert len(set(names)) == len(names) > 0
        assert any(each.secret for each in fields)
        assert all(each.title for each in fields)
        given = harness.account(0).credentials
        assert {each.name for each in fields if each.required} <= set(given)

    def test_c1_030_can_trade_something_somewhere(self, harness: BrokerHarness) -> None:
        capabilities = harness.broker.capabilities
        assert any(not exchange.is_index for exchange in capabilities.exchanges)
        assert capabilities.products
        assert capabilities.order_types

    def test_c1_040_says_what_a_unit_of_quantity_is(self, harness: BrokerHarness) -> None:
        tradable = {e for e in harness.broker.capabilities.exchanges if not e.is_index}
        units = harness.broker.info.quantity_units
        assert set(units) == tradable
        assert set(units.values()) <= {"units", "lots"}

    def test_c1_050_names_its_hosts(self, harness: BrokerHarness) -> None:
        hosts = harness.broker.info.hosts
        assert hosts
        assert all(_HOST.fullmatch(host) for host in hosts)

    def test_c1_060_default_cluster_is_one_of_its_clusters(self, harness: BrokerHarness) -> None:
        info = harness.broker.info
        if not info.clusters:
            assert info.default_cluster == ""
            pytest.skip(f"{info.title} has one server only")
        assert info.default_cluster in info.clusters
        assert harness.account(0).cluster in ("", *info.clusters)

    def test_c1_070_refuses_an_unknown_cluster(self, harness: BrokerHarness) -> None:
        with pytest.raises(ValueError, match="cluster"):
            Desk(harness, replace(harness.account(0), cluster="no such cluster"))

    def test_c1_080_never_sends_secrets_in_clear(self, harness: BrokerHarness) -> None:
        for url in ("http://broker.example", "ftp://broker.example", "broker.example"):
            with pytest.raises(ValueError, match="https"):
                Desk(harness, replace(harness.account(0), base_url=url))

    def test_c1_090_is_registered_as_it_declares_itself(self, harness: BrokerHarness) -> None:
        registry = discover()
        name = harness.broker.info.name
        if name not in registry.names():
            pytest.skip(f"{name} is not installed as a package")
        plugin = registry.plugin(name)
        assert plugin.broker is harness.broker
        assert plugin.title == harness.broker.info.title
        if plugin.exchanges is not None:
            assert {Exchange(e) for e in plugin.exchanges} == harness.broker.capabilities.exchanges

    def test_c1_100_shows_no_secret(self, make: MakeDesk) -> None:
        desk = make()
        shown = " ".join(map(repr, (desk.account, desk.broker.session, vars(desk.broker))))
        session = desk.broker.session
        assert session is not None
        secrets = hidden(desk.account) + [each.reveal() for each in session.tokens.values()]
        assert not [secret for secret in secrets if secret in shown]

    def test_c1_110_does_nothing_without_a_session(
        self, make: MakeDesk, venue: BrokerHarness
    ) -> None:
        desk = make(login=False)
        broker, ref = desk.broker, desk.equity.ref
        assert broker.session is None
        for call in (
            lambda: broker.orders(deadline=desk.deadline()),
            lambda: broker.trades(deadline=desk.deadline()),
            lambda: broker.positions(deadline=desk.deadline()),
            lambda: broker.holdings(deadline=desk.deadline()),
            lambda: broker.funds(deadline=desk.deadline()),
            lambda: broker.find("a tag", deadline=desk.deadline()),
            lambda: broker.order_history("1", deadline=desk.deadline()),
            lambda: broker.quotes([ref], deadline=desk.deadline()),
            lambda: desk.place(),
            lambda: desk.cancel("1"),
        ):
            with pytest.raises(SessionExpired):
                call()
        assert venue.requests(Operation.PLACE) == venue.requests(Operation.ORDERS) == 0
