"""Holds the code against the import rules of pyproject.toml.

The contracts stand under `[tool.importlinter]`. import-linter refuses a package that does not
exist, so this script hands it the same contracts without the packages that are not there yet.
Exit status 0 when every contract is kept.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def exists(module: str, root: Path) -> bool:
    """Whether `module` is a package or a single file directly under `root`."""
    return (root / module / "__init__.py").is_file() or (root / f"{module}.py").is_file()


def present_contracts(config: dict[str, Any], root: Path) -> dict[str, Any]:
    """The import-linter configuration, reduced to the packages that exist under `root`.

    A contract whose sources are all missing is dropped; external packages are kept.
    """
    ours = set(config["root_packages"])
    missing = {name for name in ours if not exists(name, root)}

    def kept(names: list[str]) -> list[str]:
        return [name for name in names if name.split(".")[0] not in missing]

    contracts = []
    for contract in config["contracts"]:
        reduced = dict(contract)
        for key in ("source_modules", "forbidden_modules"):
            reduced[key] = kept(contract[key])
        if reduced["source_modules"] and reduced["forbidden_modules"]:
            contracts.append(reduced)
    return {**config, "root_packages": kept(config["root_packages"]), "contracts": contracts}


def to_toml(config: dict[str, Any]) -> str:
    """`config` as the TOML that import-linter reads (strings, booleans and lists of strings)."""
    head = {key: value for key, value in config.items() if key != "contracts"}
    lines = ["[tool.importlinter]"]
    lines += [f"{key} = {json.dumps(value)}" for key, value in head.items()]
    for contract in config["contracts"]:
        lines += ["", "[[tool.importlinter.contracts]]"]
        lines += [f"{key} = {json.dumps(value)}" for key, value in contract.items()]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run import-linter in the project's folder; its exit status is ours."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    config = present_contracts(pyproject["tool"]["importlinter"], ROOT)
    if not config["contracts"]:
        return 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "contracts.toml"
        path.write_text(to_toml(config), encoding="utf-8")
        lint_imports = Path(sys.executable).parent / "lint-imports"
        command = [str(lint_imports), "--config", str(path)]
        return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
