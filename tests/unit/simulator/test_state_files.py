"""State files that are damaged, foreign, in use or out of reach: none stops a start."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from tests.support.simulator_state import Run, Times


@pytest.fixture
def times() -> Times:
    return Times()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "state.sqlite"


class TestBadFiles:
    def aside(self, path: Path) -> Path:
        (found,) = path.parent.glob("*.aside-*")
        return found

    @pytest.mark.parametrize("content", [b"not a database at all " * 400, b"{}"])
    def test_a_damaged_file_is_set_aside(
        self, path: Path, times: Times, content: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        path.parent.mkdir()
        path.write_bytes(content)
        run = Run(path, times)
        assert run.keeper.became == "set aside"
        assert self.aside(path).read_bytes() == content
        assert f"set aside as {path.name}.aside-20261120-120000" in caplog.text
        run.place()
        run.end()
        path.with_name("again").write_bytes(content)
        path.with_name("again").replace(path)
        assert Run(path, times).keeper.became == "set aside"
        assert len(list(path.parent.glob("*.aside-*"))) == 2

    def test_damage_in_the_middle_is_noticed(self, path: Path, times: Times) -> None:
        run = Run(path, times)
        for _ in range(40):
            run.place()
        run.end()
        content = bytearray(path.read_bytes())
        content[4096 : 4096 * 4] = b"\xff" * 4096 * 3
        path.write_bytes(content)
        again = Run(path, times)
        assert again.keeper.became == "set aside"
        assert not again.engine.orders

    def test_another_program_s_file_is_set_aside(self, path: Path, times: Times) -> None:
        path.parent.mkdir()
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE venues (a)")
        other.close()
        assert Run(path, times).keeper.became == "set aside"
        assert self.aside(path).stat().st_size > 0

    @pytest.mark.parametrize(
        "spoil",
        [
            "UPDATE orders SET symbol = 'NO SUCH'",
            "UPDATE orders SET quantity = 'many'",
            "UPDATE orders SET tag = 5",
            "UPDATE orders SET account = 'nobody'",
            "UPDATE accounts SET key = 'nobody' WHERE key = 'pro:SIMBPRO1A01'",
            "UPDATE trades SET sequence = -sequence",
            "DROP TABLE holdings",
        ],
    )
    def test_rows_that_fit_nothing_are_set_aside(
        self, path: Path, times: Times, spoil: str
    ) -> None:
        run = Run(path, times)
        run.place()
        run.end()
        with sqlite3.connect(path) as other:
            other.execute(spoil)
        other.close()
        again = Run(path, times)
        assert again.keeper.became == "set aside"
        assert not again.engine.orders
        assert all(a.positions == {} for a in again.engine.clients.all())
        again.place()
        again.end()
        assert Run(path, times).keeper.became == "kept"

    def test_an_empty_file_is_a_new_one(self, path: Path, times: Times) -> None:
        path.parent.mkdir()
        path.touch()
        assert Run(path, times).keeper.became == "new"

    def test_a_place_for_no_file_stops_nothing(
        self, path: Path, times: Times, caplog: pytest.LogCaptureFixture
    ) -> None:
        path.mkdir(parents=True)
        run = Run(path, times)
        assert run.keeper.became == "unusable"
        assert "the books are not kept" in caplog.text
        run.place()
        run.end()
        assert path.is_dir()

    def test_a_file_in_use_is_left_alone(
        self, path: Path, times: Times, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("simulator.state.store._PATIENCE", 0.05)
        first = Run(path, times)
        first.place()
        assert Run(path, times).keeper.became == "unusable"
        before = first.books()
        first.end()
        assert Run(path, times).books() == before
