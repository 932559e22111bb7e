"""Metrics: declared once, bounded in their labels, summed over workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from utils.config import ROOT
from utils.metrics import OTHER, counter, exposition, gauge, histogram


def test_a_metric_can_be_declared_twice() -> None:
    first = counter("test_twice", "for a test", ["outcome"])
    assert counter("test_twice", "for a test", ["outcome"]) is first
    with pytest.raises(ValueError, match="declared twice, differently"):
        counter("test_twice", "for a test", ["other"])
    with pytest.raises(ValueError, match="declared twice, differently"):
        gauge("test_twice", "for a test", ["outcome"])


def test_what_is_counted_comes_out() -> None:
    counter("test_calls", "for a test", ["outcome"]).inc(3, outcome="ok")
    counter("test_plain", "for a test").inc()
    histogram("test_seconds", "for a test", buckets=(0.1, 1)).observe(0.5)
    level = gauge("test_level", "for a test", ["kind"])
    level.set(5, kind="a")
    level.inc(-2, kind="a")
    text = exposition().decode()
    assert 'test_calls_total{outcome="ok"} 3.0' in text
    assert "test_plain_total 1.0" in text
    assert 'test_seconds_bucket{le="1.0"} 1.0' in text
    assert 'test_level{kind="a"} 3.0' in text


def test_a_label_can_not_explode() -> None:
    calls = counter("test_bounded", "for a test", ["symbol"], label_values=3)
    for number in range(50):
        calls.inc(symbol=f"S{number}")
    calls.inc(symbol="S1")
    text = exposition().decode()
    assert f'test_bounded_total{{symbol="{OTHER}"}} 47.0' in text
    assert 'test_bounded_total{symbol="S1"} 2.0' in text
    assert 'symbol="S3"' not in text


def test_labels_are_checked() -> None:
    with pytest.raises(ValueError, match="labels are"):
        counter("test_labels", "for a test", ["a"]).inc(b=1)


def test_several_workers_are_summed(tmp_path: Path) -> None:
    program = (
        "from utils.metrics import counter, exposition;"
        "counter('workers_calls', 'for a test').inc(2);"
        "print(exposition().decode())"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert "workers_calls_total 2.0" in outputs[0]
    assert "workers_calls_total 4.0" in outputs[1]
