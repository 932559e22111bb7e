"""Thin helpers over prometheus_client: metrics that can be declared twice and can't explode.

A label takes at most `LABEL_VALUES` different values in a process; later ones become "other", so
that no caller fills the memory of Prometheus with symbols, paths or ids. With several workers
(`PROMETHEUS_MULTIPROC_DIR` set before the first import) `exposition` sums over all of them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, cast

from prometheus_client import REGISTRY as DEFAULT_REGISTRY
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

LABEL_VALUES = 100
OTHER = "other"
SECONDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 30.0,
)  # fmt: skip
"""Buckets for durations: from a journal commit to the longest deadline."""

GaugeMode = Literal["livesum", "livemax", "livemostrecent", "max", "mostrecent", "sum"]


class _Bounded:
    """What all metrics share: known label names, and a bound on the values of each."""

    def __init__(self, metric: Any, labels: Sequence[str], label_values: int) -> None:
        self._metric = metric
        self._labels = tuple(labels)
        self._limit = label_values
        self._seen: dict[str, set[str]] = {name: set() for name in labels}
        self._children: dict[tuple[str, ...], Any] = {}
        self._lock = threading.Lock()

    def _child(self, values: dict[str, object]) -> Any:
        if values.keys() != self._seen.keys():
            raise ValueError(f"labels are {self._labels}, got {tuple(values)}")
        if not self._labels:
            return self._metric
        key = tuple(str(values[name]) for name in self._labels)
        child = self._children.get(key)
        return child if child is not None else self._new_child(key)

    def _new_child(self, key: tuple[str, ...]) -> Any:
        with self._lock:
            safe = []
            for name, value in zip(self._labels, key, strict=True):
                seen = self._seen[name]
                if value not in seen and len(seen) >= self._limit:
                    value = OTHER
                else:
                    seen.add(value)
                safe.append(value)
            child = self._metric.labels(*safe)
            if tuple(safe) == key:
                self._children[key] = child
            return child


class SafeCounter(_Bounded):
    """Something that is counted."""

    def inc(self, amount: float = 1, **labels: object) -> None:
        """Count `amount` more."""
        self._child(labels).inc(amount)


class SafeHistogram(_Bounded):
    """A distribution, mostly of seconds."""

    def observe(self, value: float, **labels: object) -> None:
        """Count one value into its bucket."""
        self._child(labels).observe(value)


class SafeGauge(_Bounded):
    """A level."""

    def set(self, value: float, **labels: object) -> None:
        """The level is now `value`."""
        self._child(labels).set(value)

    def inc(self, amount: float = 1, **labels: object) -> None:
        """Raise the level (a negative amount lowers it)."""
        self._child(labels).inc(amount)


_declared: dict[str, _Bounded] = {}
_declaring = threading.Lock()


def _once(name: str, kind: type[_Bounded], labels: Sequence[str], make: Any, limit: int) -> Any:
    with _declaring:
        known = _declared.get(name)
        if known is None:
            known = _declared[name] = kind(make(), labels, limit)
        elif type(known) is not kind or known._labels != tuple(labels):
            raise ValueError(f"the metric {name} is declared twice, differently")
        return known


def counter(
    name: str, meaning: str, labels: Sequence[str] = (), *, label_values: int = LABEL_VALUES
) -> SafeCounter:
    """Declare a counter, or get the one declared by that name."""
    made = _once(name, SafeCounter, labels, lambda: Counter(name, meaning, labels), label_values)
    return cast(SafeCounter, made)


def histogram(
    name: str,
    meaning: str,
    labels: Sequence[str] = (),
    *,
    buckets: Sequence[float] = SECONDS,
    label_values: int = LABEL_VALUES,
) -> SafeHistogram:
    """Declare a histogram, or get the one declared by that name."""
    made = _once(
        name,
        SafeHistogram,
        labels,
        lambda: Histogram(name, meaning, labels, buckets=buckets),
        label_values,
    )
    return cast(SafeHistogram, made)


def gauge(
    name: str,
    meaning: str,
    labels: Sequence[str] = (),
    *,
    across_workers: GaugeMode = "livesum",
    label_values: int = LABEL_VALUES,
) -> SafeGauge:
    """Declare a gauge, or get the one declared by that name.

    across_workers: how the values of several processes become one.
    """
    made = _once(
        name,
        SafeGauge,
        labels,
        lambda: Gauge(name, meaning, labels, multiprocess_mode=across_workers),
        label_values,
    )
    return cast(SafeGauge, made)


class Reader(Protocol):
    """Something that is looked at when metrics are asked for, instead of being counted before."""

    def collect(self) -> Iterable[Metric]:
        """The metrics of this moment."""
        ...


def reading(
    name: str,
    meaning: str,
    labels: Sequence[str] = (),
    rows: Mapping[tuple[str, ...], float] | None = None,
    *,
    counts: bool = False,
) -> Metric:
    """A metric of a `Reader`: a value for each row of label values.

    counts: it only grows, and begins anew at zero; its name then ends in `_total`. Beyond
    `LABEL_VALUES` rows the rest is one row "other".
    """
    family = CounterMetricFamily if counts else GaugeMetricFamily
    metric = family(name, meaning, labels=labels)
    for row, value in _folded(rows or {}).items():
        metric.add_metric(row, value)
    return metric


def _folded(rows: Mapping[tuple[str, ...], float]) -> Mapping[tuple[str, ...], float]:
    if len(rows) <= LABEL_VALUES:
        return rows
    kept = dict(list(rows.items())[: LABEL_VALUES - 1])
    rest = list(rows.items())[LABEL_VALUES - 1 :]
    kept[(OTHER,) * len(rest[0][0])] = sum(value for _, value in rest)
    return kept


def exposition(*readers: Reader) -> bytes:
    """All metrics in Prometheus's text format, of all workers where there are several.

    readers: what is looked at now, in this process.
    """
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]  # no types
        counted = generate_latest(registry)
    else:
        counted = generate_latest(DEFAULT_REGISTRY)
    now = CollectorRegistry(auto_describe=False)
    for reader in readers:
        now.register(cast(Any, reader))
    return counted + generate_latest(now)


def serve_counted(host: str, port: int) -> None:
    """Serve what this process counts at http://host:port/metrics, from a thread of its own.

    For a process that answers no requests, and so has no `/metrics`.
    """
    start_http_server(port, host)
