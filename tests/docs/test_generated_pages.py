"""Generated pages are what the code says, and the errors are what the design says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from broker import errors
from broker.errors import ALL_ERRORS, BrokerError, Fate, Remedy

ROOT = Path(__file__).resolve().parents[2]

# Design §6: what happened to the order, what helps, and the HTTP status.
DESIGN = {
    "InvalidOrder": (Fate.NOT_SENT, Remedy.CORRECT, 400),
    "ConnectFailed": (Fate.NOT_SENT, Remedy.RETRY, 503),
    "BrokerBusy": (Fate.NOT_SENT, Remedy.RETRY, 429),
    "LimitsUnknown": (Fate.NOT_SENT, Remedy.RETRY, 503),
    "CircuitOpen": (Fate.NOT_SENT, Remedy.RETRY, 503),
    "RateLimited": (Fate.REFUSED, Remedy.RETRY, 429),
    "SessionExpired": (Fate.REFUSED, Remedy.LOGIN, 503),
    "LoginFailed": (Fate.NOT_SENT, Remedy.LOGIN, 503),
    "Refused": (Fate.REFUSED, Remedy.CORRECT, 400),
    "NotFound": (Fate.REFUSED, Remedy.CORRECT, 404),
    "OutcomeUnknown": (Fate.UNKNOWN, Remedy.ASK, 504),
    "RateLimitedUnknown": (Fate.UNKNOWN, Remedy.ASK, 504),
    "ProtocolError": (Fate.NONE, Remedy.OPERATOR, 502),
    "NotSupported": (Fate.NOT_SENT, Remedy.NOTHING, 501),
}


PAGES = {"gen_error_docs": "errors.md", "gen_contract_docs": "contract.md"}


@pytest.fixture(params=PAGES)
def generator(request: pytest.FixtureRequest) -> ModuleType:
    name = request.param
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_page_is_what_the_code_says(generator: ModuleType) -> None:
    page = ROOT / "docs" / PAGES[generator.__name__]
    assert page.read_text(encoding="utf-8") == generator.page()


def test_generator_writes_and_compares(
    generator: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "docs" / "page.md"
    monkeypatch.setattr(generator, "PAGE", page)
    assert generator.main(["--check"]) == 1
    assert not page.exists()
    assert generator.main([]) == 0
    assert generator.main(["--check"]) == 0
    assert page.read_text(encoding="utf-8") == generator.page()


def test_every_class_is_listed_once_and_is_as_the_design_says() -> None:
    defined = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, BrokerError) and value is not BrokerError
    }
    assert set(ALL_ERRORS) == defined
    assert len({error.kind for error in ALL_ERRORS}) == len(ALL_ERRORS)
    told = {error.__name__: (error.fate, error.remedy, error.http_status) for error in ALL_ERRORS}
    assert told == DESIGN


@pytest.mark.parametrize("error", ALL_ERRORS)
def test_message_stands_alone(error: type[BrokerError]) -> None:
    raised = error("A sentence.", code="e-1")
    assert (str(raised), raised.message, raised.code) == ("A sentence.", "A sentence.", "e-1")
