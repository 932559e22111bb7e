"""Alerts: read and tested by Prometheus's own tools, routed by severity, each with a runbook."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from services import bearing_out, reconciler, secret_ages
from tests.operations.promql import PROMETHEUS, metrics_in, rules, run, tool
from utils.config import ROOT

ALERTMANAGER = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
ALERTS = [rule for rule in rules() if "alert" in rule]
SEVERITIES = {"critical": "on-call", "high": "on-call-and-slack", "medium": "slack", "low": "mail"}


@pytest.mark.prometheus
def test_prometheus_reads_its_configuration(tmp_path: Path) -> None:
    folder = tmp_path / "prometheus"
    shutil.copytree(PROMETHEUS, folder)
    (folder / "secrets").mkdir()
    (folder / "secrets" / "metrics_token").write_text("a-token-for-tests")
    done = run(tool("promtool"), "check", "config", folder / "prometheus.yml")
    assert done.returncode == 0, done.stderr
    assert "2 rule files found" in done.stdout


@pytest.mark.prometheus
def test_the_rules_do_what_their_tests_say() -> None:
    done = run(tool("promtool"), "test", "rules", *sorted((PROMETHEUS / "tests").glob("*.yml")))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_both_ways() -> None:
    files = (PROMETHEUS / "tests").glob("*.yml")
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    for alert in ALERTS:
        for case in ("fires", "does not fire"):
            assert f"- name: {alert['alert']} {case}\n" in text


@pytest.mark.prometheus
def test_the_tests_of_the_rules_can_fail(tmp_path: Path) -> None:
    """A threshold that is moved is noticed."""
    folder = tmp_path / "prometheus"
    shutil.copytree(PROMETHEUS, folder)
    path = folder / "rules" / "alerts.yml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("ratio5m > 0.10", "ratio5m > 0.50"), encoding="utf-8")
    assert path.read_text(encoding="utf-8") != text
    tests = folder / "tests" / "alerts.yml"
    document = yaml.safe_load(tests.read_text(encoding="utf-8"))
    document["tests"] = [
        test for test in document["tests"] if test["name"].startswith("BrokerErrorRateCritical")
    ]
    tests.write_text(yaml.safe_dump(document), encoding="utf-8")
    done = run(tool("promtool"), "test", "rules", tests)
    assert done.returncode != 0
    assert "BrokerErrorRateCritical" in done.stdout + done.stderr


@pytest.mark.prometheus
def test_alertmanager_reads_its_configuration() -> None:
    done = run(tool("amtool"), "check-config", ALERTMANAGER)
    assert done.returncode == 0, done.stderr


@pytest.mark.prometheus
@pytest.mark.parametrize(("severity", "receiver"), [*SEVERITIES.items(), ("unheard-of", "slack")])
def test_a_severity_has_its_route(severity: str, receiver: str) -> None:
    done = run(
        tool("amtool"), "config", "routes", "test", f"--config.file={ALERTMANAGER}",
        f"--verify.receivers={receiver}", "alertname=Any", f"severity={severity}",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_severity_is_used_and_known() -> None:
    assert {alert["labels"]["severity"] for alert in ALERTS} == set(SEVERITIES)


def test_inhibitions_name_alerts_that_there_are() -> None:
    named = set(re.findall(r"alertname =~? \"([\w|]+)\"", ALERTMANAGER.read_text(encoding="utf-8")))
    names = {name for group in named for name in group.split("|")}
    assert names
    assert names <= {alert["alert"] for alert in ALERTS}


def test_every_alert_has_a_runbook_with_its_five_parts() -> None:
    for alert in ALERTS:
        where = alert["annotations"]["runbook_url"]
        path, _, anchor = where.partition("#")
        text = (ROOT / path).read_text(encoding="utf-8")
        assert anchor == alert["alert"].lower()
        sections = re.split(r"^#{2,3} ", text, flags=re.M)
        found = [section for section in sections if section.split("\n")[0].lower() == anchor]
        assert len(found) == 1, where
        for part in ("Means.", "Causes.", "Look.", "Do.", "If it stays"):
            assert f"**{part}**" in found[0], (where, part)
    headings = set(re.findall(r"^### (\w+)$", text, flags=re.M))
    assert headings == {alert["alert"] for alert in ALERTS}  # and no runbook without an alert


def test_the_alarms_of_orders_are_named_as_the_code_names_them() -> None:
    rule = next(alert for alert in ALERTS if alert["alert"] == "OrderAlarm")
    named = re.search(r'rule=~"([^"]+)"', rule["expr"])
    assert named is not None
    assert set(named[1].split("|")) == {
        bearing_out.ORDER_LOST, bearing_out.NO_EFFECT, reconciler.ORDER_TWICE,
        reconciler.UNSETTLED_ORDERS, reconciler.ABSENT_APPEARED,
    }  # fmt: skip
    other = next(alert for alert in ALERTS if alert["alert"] == "OpenAlarm")
    assert f'rule!~"{named[1]}|{secret_ages.SECRET_DUE}"' in other["expr"]
    due = next(alert for alert in ALERTS if alert["alert"] == "SecretDue")
    assert f'rule="{secret_ages.SECRET_DUE}"' in due["expr"]


def test_names_of_metrics_are_found_in_expressions() -> None:
    expression = (
        'histogram_quantile(0.95, sum by (account, le) (rate(a_bucket{x="y_z"}[5m]))) > 2.5e3 '
        "and on (job) up or b:c:d offset 5m"
    )
    assert metrics_in(expression) == {"a_bucket", "up", "b:c:d"}
