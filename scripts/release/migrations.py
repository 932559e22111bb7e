"""Is a migration compatible with the release before it?

Both releases work on the database for some seconds, and after a rollback the older one does for
days. So an upgrade may add, and nothing else: what it takes away, renames or tightens breaks the
older code. It is taken away one release later, when nobody uses it any more; such a migration says
so with a line `CONTRACTS = "…"` that names the release which stopped using it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

_FORBIDDEN = {
    "drop_column": "takes a column away",
    "drop_table": "takes a table away",
    "rename_table": "renames a table",
    "drop_constraint": "takes a constraint away",
    "create_check_constraint": "tightens what rows may hold",
    "create_unique_constraint": "tightens what rows may hold",
    "create_foreign_key": "tightens what rows may hold",
}
_MARK = "CONTRACTS"


def incompatible(folder: Path) -> list[str]:
    """What is wrong with the migrations in a folder, one sentence each."""
    return [text for path in sorted(folder.glob("*.py")) for text in _faults(path)]


def _faults(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    marked = any(
        isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == _MARK
        for node in tree.body
    )
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    upgrade = next((node for node in functions if node.name == "upgrade"), None)
    if upgrade is None or marked:
        return
    for call in (node for node in ast.walk(upgrade) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        why = _FORBIDDEN.get(name) or _altered(name, call) or _added(name, call)
        if why:
            yield f"{path.name}, line {call.lineno}: {name} {why}"


def _altered(name: str, call: ast.Call) -> str:
    if name != "alter_column":
        return ""
    given = {word.arg: word.value for word in call.keywords}
    if "new_column_name" in given:
        return "renames a column"
    value = given.get("nullable")
    if isinstance(value, ast.Constant) and value.value is False:
        return "demands a value that the older release does not write"
    return ""


def _added(name: str, call: ast.Call) -> str:
    """A new column that must have a value, and has none by itself."""
    if name != "add_column":
        return ""
    column = next(
        (arg for arg in call.args
         if isinstance(arg, ast.Call) and getattr(arg.func, "attr", "") == "Column"), None
    )
    if column is None:
        return ""
    given = {word.arg: word.value for word in column.keywords}
    value = given.get("nullable")
    if isinstance(value, ast.Constant) and value.value is False and "server_default" not in given:
        return "demands a value that the older release does not write"
    return ""
