"""Orders, cancels, modifications, fills and faults agree with the books: a few examples."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.model import explore


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_model_of_orders_agrees_with_the_books(tmp_path: Path) -> None:
    explore(tmp_path, examples=8)
