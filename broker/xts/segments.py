"""The declaration's segments, both ways: exchange to wire, what a row names to instrument."""

from __future__ import annotations

from collections.abc import Iterable

from broker.errors import InvalidOrder
from broker.models import Exchange, InstrumentRef
from broker.xts.profile import Segment
from broker.xts.values import Unreadable, identifier, text

_CACHE_SIZE = 65536


class Segments:
    """The declaration's segments, looked up both ways."""

    def __init__(self, segments: Iterable[Segment], indices: Iterable[Segment]) -> None:
        traded = tuple(segments)
        self._by_exchange = {s.exchange: s for s in (*traded, *indices)}
        self._by_name = {s.name: s.exchange for s in traded}
        self._refs: dict[tuple[object, object], InstrumentRef] = {}

    def of(self, exchange: Exchange) -> Segment:
        """The segment of an exchange. `InvalidOrder` when the broker does not serve it."""
        segment = self._by_exchange.get(exchange)
        if segment is None:
            raise InvalidOrder(
                f"This broker does not serve the exchange {exchange.value}.", field="exchange"
            )
        return segment

    def ref(self, name: object, token: object) -> InstrumentRef:
        """The instrument that a row names.

        A segment that is not ours keeps its name in the token, so that it can never be taken for
        an instrument of an exchange that is.
        """
        key = (name, token)
        try:
            known = self._refs.get(key)
        except TypeError:
            raise Unreadable("a list or object where an instrument belongs") from None
        if known is not None:
            return known
        digits = identifier(token)
        exchange = self._by_name.get(text(name))
        if exchange is None:
            ref = InstrumentRef(Exchange.NSE, f"{text(name)}:{digits}")
        else:
            ref = InstrumentRef(exchange, digits)
        if len(self._refs) >= _CACHE_SIZE:
            self._refs.clear()
        self._refs[key] = ref
        return ref
