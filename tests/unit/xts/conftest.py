"""Rigs: a broker of each declaration on a scripted venue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from broker.jainam_prop.declaration import JainamProp
from broker.wisdom.declaration import Wisdom
from tests.support.xts import Rig, Venue


@pytest.fixture
def venue(monkeypatch: pytest.MonkeyPatch) -> Venue:
    scripted = Venue()
    monkeypatch.setattr("broker.xts.connection.Transport", scripted.transport)
    return scripted


@pytest.fixture
def jainam(venue: Venue) -> Callable[..., Rig]:
    def build(**account: Any) -> Rig:
        return Rig(JainamProp, venue, **account)

    return build


@pytest.fixture
def wisdom(venue: Venue) -> Callable[..., Rig]:
    def build(**account: Any) -> Rig:
        return Rig(Wisdom, venue, **account)

    return build
