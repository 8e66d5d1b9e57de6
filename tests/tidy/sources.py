"""Finds the project's files and reads imports out of them, for the tidy tests beside it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "kstore"

CODE_SUFFIXES = frozenset({".py", ".pyx", ".pxd", ".pyi", ".c", ".h"})
_NOT_OURS = frozenset({"__pycache__", "_build", "build", "dist", "target", "data", "corpus", "seeds"})


class Source(NamedTuple):
    """One file of the project: its path from the root, with forward slashes, and its text."""

    path: str
    text: str

    @property
    def suffix(self) -> str:
        return Path(self.path).suffix

    @property
    def lines(self) -> list[str]:
        return self.text.split("\n")

    @property
    def in_package(self) -> bool:
        return self.path.startswith("src/kstore/")


class Import(NamedTuple):
    """One imported module, as a dotted name, and the line that imports it."""

    module: str
    line: int
    at_top: bool


def files(*folders: str, suffixes: frozenset[str] = CODE_SUFFIXES) -> list[Source]:
    """Every file with such a suffix below the folders, in a stable order."""
    found = []
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            parts = path.relative_to(ROOT).parts
            if path.suffix in suffixes and path.is_file() and not _NOT_OURS.intersection(parts):
                found.append(Source("/".join(parts), path.read_text(encoding="utf-8")))
    return found


def module_name(path: str) -> str:
    """`src/kstore/log/names.py` is `kstore.log.names`; a package's `__init__` is the package."""
    dotted = Path(path).relative_to("src").with_suffix("").as_posix().replace("/", ".")
    return dotted.removesuffix(".__init__")


def imports(source: Source) -> list[Import]:
    """Every module that the file imports while it runs; what only a type checker reads is left out."""
    if source.suffix in {".py", ".pyi"}:
        return list(_python_imports(source))
    if source.suffix in {".pyx", ".pxd"}:
        return list(_cython_imports(source))
    return []


def _python_imports(source: Source) -> Iterator[Import]:
    tree = ast.parse(source.text)
    skipped = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for statement in block.body
        for node in ast.walk(statement)
    }
    top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, id(node) in top)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(source.path, node.level, node.module or "")
            for alias in node.names:
                yield Import(_submodule(base, alias.name), node.lineno, id(node) in top)


_CYTHON_FROM = re.compile(r"^(\s*)from\s+([.\w]+)\s+c?import\s+\(?([^#]*)")
_CYTHON_PLAIN = re.compile(r"^(\s*)c?import\s+([^#]+)")


def _cython_imports(source: Source) -> Iterator[Import]:
    for number, line in enumerate(source.lines, 1):
        if found := _CYTHON_FROM.match(line):
            indent, dotted, names = found.groups()
            level = len(dotted) - len(dotted.lstrip("."))
            base = _absolute(source.path, level, dotted.lstrip("."))
            for name in re.split(r"[,\s)]+", names.strip()) if names.strip() else [""]:
                if name and name != "as":
                    yield Import(_submodule(base, name), number, not indent)
            if not names.strip():
                yield Import(base, number, not indent)
        elif found := _CYTHON_PLAIN.match(line):
            indent, names = found.groups()
            for name in names.split(","):
                yield Import(name.strip().split(" ")[0], number, not indent)


def _absolute(path: str, level: int, module: str) -> str:
    if level == 0:
        return module
    package = module_name(path).split(".")
    if not path.endswith("__init__.py"):
        package = package[:-1]
    package = package[: len(package) - (level - 1)]
    return ".".join([*package, module] if module else package)


def _submodule(base: str, name: str) -> str:
    """`from kstore.log import names` imports `kstore.log.names`; `from kstore.errors import UsageError` does not."""
    if not base.startswith("kstore"):
        return base
    folder = ROOT / "src" / base.replace(".", "/")
    is_module = any((folder / f"{name}{end}").is_file() for end in (".py", ".pyx", ".pxd"))
    is_package = (folder / name / "__init__.py").is_file()
    return f"{base}.{name}" if is_module or is_package else base
