"""Does in a folder what a Dockerfile says, by its own lines: stages, COPY, RUN, ENV, CMD.

No container engine is needed. Absolute paths of the image become paths below a stage's folder, and
what only root can do (users, owners) is done by stand-ins that write down what they were asked.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_STAND_INS = ("groupadd", "useradd", "apt-get")
_INSTALL = """#!/bin/sh
# `install -d` without the owners, which are written down.
echo "install $*" >> {notes}
set -- $(printf '%s ' "$@" | sed -E 's/-[og] [0-9]+ //g')
exec {install} "$@"
"""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, continuation lines joined."""

    word: str
    text: str

    def words(self) -> list[str]:
        """Its words; of the exec form its elements."""
        return list(json.loads(self.text)) if self.text.startswith("[") else shlex.split(self.text)


@dataclass
class Stage:
    """A stage of the Dockerfile, and the folder that stands for its file system."""

    name: str
    base: str
    instructions: list[Instruction]
    root: Path = Path()
    environ: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    notes: list[str] = field(default_factory=list)

    def last(self, word: str) -> Instruction:
        """The instruction of this kind that holds in the end."""
        return [one for one in self.instructions if one.word == word][-1]

    def mapped(self, text: str) -> str:
        """A text with the image's own folders below the stage's folder."""
        return re.sub(r"(?:(?<=:///)|(?<![\w./$]))/(opt|var)/", rf"{self.root}/\1/", text)

    def path(self, path: str) -> Path:
        """Where a path of the image stands in the folder."""
        return self.root / os.path.join(self.workdir, path).lstrip("/")

    def variables(self) -> dict[str, str]:
        """ENV, with the paths of the folder."""
        return {name: self.mapped(value) for name, value in self.environ.items()}


def read(dockerfile: Path) -> dict[str, Stage]:
    """The stages by name."""
    text = re.sub(r"^\s*#.*\n", "", dockerfile.read_text(encoding="utf-8"), flags=re.M)
    stages: dict[str, Stage] = {}
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if not line.strip():
            continue
        word, _, rest = line.partition(" ")
        if word == "FROM":
            base, _, name = rest.partition(" AS ")
            stages[name] = Stage(name, base, [])
        else:
            stages[name].instructions.append(Instruction(word, rest.strip()))
    return stages


def ignored(patterns: list[str], path: str) -> bool:
    """Whether .dockerignore keeps a path out of the build: the last pattern that hits decides."""
    parents = [path]
    while "/" in parents[-1]:
        parents.append(parents[-1].rpartition("/")[0])
    out = False
    for pattern in patterns:
        negated, plain = pattern.startswith("!"), pattern.lstrip("!")
        candidates = [plain, plain.removeprefix("**/")] if plain.startswith("**/") else [plain]
        if any(fnmatch.fnmatch(one, each) for one in parents for each in candidates):
            out = not negated
    return out


def patterns(dockerignore: Path) -> list[str]:
    """The patterns of a .dockerignore."""
    lines = dockerignore.read_text(encoding="utf-8").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def copied(stages: dict[str, Stage], target: str) -> Iterator[str]:
    """Every source in the build's folder that a stage and its bases copy."""
    stage = stages[target]
    if stage.base in stages:
        yield from copied(stages, stage.base)
    for one in stage.instructions:
        words = one.words() if one.word == "COPY" else []
        if words and not words[0].startswith("--from="):
            yield from words[:-1]


class Builder:
    """Builds stages of a Dockerfile below a folder, from the files in `context`."""

    def __init__(self, context: Path, folder: Path, python: Path) -> None:
        """`python`: the folder of a `python3` with pip, as the base image has one."""
        self._context = context
        self._folder = folder
        self._python = python
        self._ignored = patterns(context / ".dockerignore")
        self.stages = read(context / "Dockerfile")
        self._tools = folder / "tools"
        self._notes = folder / "notes"
        self._tools.mkdir()
        for name in _STAND_INS:
            self._write(name, f'#!/bin/sh\necho "{name} $*" >> {self._notes}\n')
        install = shutil.which("install")
        self._write("install", _INSTALL.format(notes=self._notes, install=install))

    def _write(self, name: str, text: str) -> None:
        (self._tools / name).write_text(text, encoding="utf-8")
        (self._tools / name).chmod(0o755)

    def build(self, name: str) -> Stage:
        """Do what a stage says, and the stages that it needs before."""
        stage = self.stages[name]
        stage.root = self._folder / name
        stage.root.mkdir()
        for one in stage.instructions:
            if one.word == "WORKDIR":
                stage.workdir = one.text
                stage.path(".").mkdir(parents=True, exist_ok=True)
            elif one.word == "ENV":
                stage.environ |= dict(pair.split("=", 1) for pair in one.words())
            elif one.word == "COPY":
                self._copy(stage, one.words())
            elif one.word == "RUN":
                self._run(stage, one.text)
        if self._notes.exists():
            stage.notes = self._notes.read_text(encoding="utf-8").splitlines()
        return stage

    def _run(self, stage: Stage, command: str) -> None:
        path = f"{self._tools}:{self._python}:/usr/bin:/bin"
        environ = {**os.environ, **stage.variables(), "PATH": path}
        environ.pop("PIP_NO_CACHE_DIR", None)  # the one thing that only makes the image smaller
        done = subprocess.run(
            ["/bin/sh", "-c", stage.mapped(command)], cwd=stage.path("."), env=environ,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"RUN {command}\n{done.stdout}{done.stderr}"

    def _copy(self, stage: Stage, words: list[str]) -> None:
        target = stage.path(words[-1])
        if words[0].startswith("--from="):
            origin = self.stages[words[0].removeprefix("--from=")]
            if not origin.root.name:
                origin = self.build(origin.name)
            shutil.copytree(origin.path(words[1]), target, symlinks=True, dirs_exist_ok=True)
            return
        for source in words[:-1]:
            self._copy_one(source, target)

    def _copy_one(self, source: str, target: Path) -> None:
        origin = self._context / source
        assert not ignored(self._ignored, source), f".dockerignore keeps {source} out"
        if origin.is_file():
            shutil.copy(origin, target)
            return

        def leave_out(folder: str, names: list[str]) -> list[str]:
            here = Path(folder).relative_to(self._context)
            return [name for name in names if ignored(self._ignored, str(here / name))]

        shutil.copytree(origin, target, ignore=leave_out, dirs_exist_ok=True)
