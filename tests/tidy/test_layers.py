"""Imports point down: the layers of docs/ARCHITECTURE.md, enforced over every `import` and `cimport`.

A module may import what stands strictly below its own layer, and its own package. Siblings of one layer never import
each other, and no two modules import each other in a circle. Imports inside functions count like any other: moving an
import does not move the dependency.
"""

from __future__ import annotations

import re

import pytest

from tidy.sources import PACKAGE, Import, Source, files, imports, module_name

LAYERS: dict[str, float] = {
    # layer 0 stands on nothing; inside it the order is fixed too
    "errors": 0.0,
    "limits": 0.1,
    "nearest": 0.1,
    "compression": 0.2,
    "config": 0.3,
    # layer 1: bytes and files
    "_native": 1.0,
    "primitives": 1.0,
    "lineage": 1.0,
    "records": 1.5,
    # layer 2: siblings
    "log": 2.0,
    "replication": 2.0,
    "wire": 2.0,
    "groups": 2.0,
    "kraft": 2.0,
    "security": 2.0,
    # layer 3: one log and its writer
    "partition": 3.0,
    "parking": 3.0,
    "resigning": 3.0,
    "fetched": 3.05,
    "replica": 3.1,
    # layer 4: directories of partitions
    "store": 4.0,
    "inspect": 4.1,
    "graduation": 4.2,
    # layer 5: the broker
    "cluster": 5.0,
    "broker": 5.1,
    # the public face: what `import kstore` offers. Nothing below layer 6 may look at it.
    "": 5.5,
    # layer 6: what a user runs
    "apps": 6.0,
    "testing": 6.0,
    "cli": 6.1,
    "__main__": 6.2,
}

LOWEST_WITH_A_CLOCK = 4.0
CLOCKS = frozenset({"time", "random", "secrets", "sched"})
TELLS_THE_TIME = re.compile(r"\b(datetime|date)\.(now|utcnow|today)\(")
"""`datetime` may turn a given number into a date anywhere; it may not ask what time it is."""

SOURCES = files("src/kstore", suffixes=frozenset({".py", ".pyx", ".pxd"}))


def unit(module: str) -> str:
    """The layer's name: `kstore.log.names` belongs to `log`, `kstore` itself to the empty name."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else ""


def breach(source: Source, imported: Import) -> str | None:
    """What is wrong with one import, or None."""
    if imported.module.split(".")[0] != "kstore":
        return None
    mine, other = unit(module_name(source.path)), unit(imported.module)
    if other not in LAYERS:
        return f"{source.path}:{imported.line}: {imported.module} has no layer: give it one in LAYERS"
    if mine == other or LAYERS[other] < LAYERS[mine]:
        return None
    where = "sideways" if LAYERS[other] == LAYERS[mine] else "up"
    return f"{source.path}:{imported.line}: imports {imported.module}, which points {where}"


def test_every_module_has_a_layer() -> None:
    units = {unit(module_name(source.path)) for source in SOURCES}
    assert units - set(LAYERS) == set(), "give each a layer in LAYERS, and in docs/ARCHITECTURE.md"


def test_imports_point_down() -> None:
    found = [breach(source, one) for source in SOURCES for one in imports(source)]
    assert [line for line in found if line] == []


def test_no_circles_between_modules() -> None:
    graph: dict[str, set[str]] = {}
    for source in SOURCES:
        name = module_name(source.path)
        targets = {one.module for one in imports(source) if one.module.startswith("kstore") and one.module != name}
        graph.setdefault(name, set()).update(targets)
    assert circle(graph) == []


def circle(graph: dict[str, set[str]]) -> list[str]:
    """One circle of the graph as a list of its nodes, or an empty list."""
    done: set[str] = set()
    for start in graph:
        path: list[str] = []
        stack = [(start, iter(sorted(graph[start])))]
        path.append(start)
        while stack:
            node, targets = stack[-1]
            following = next((one for one in targets if one not in done), None)
            if following is None:
                done.add(node)
                stack.pop()
                path.pop()
            elif following in path:
                return [*path[path.index(following) :], following]
            else:
                path.append(following)
                stack.append((following, iter(sorted(graph.get(following, ())))))
    return []


def test_only_the_store_and_above_read_a_clock() -> None:
    found = [
        f"{source.path}:{one.line}: imports {one.module}"
        for source in SOURCES
        if LAYERS.get(unit(module_name(source.path)), 0.0) < LOWEST_WITH_A_CLOCK
        for one in imports(source)
        if one.module.split(".")[0] in CLOCKS or TELLS_THE_TIME.search(source.text)
    ]
    assert found == []


# -- the rules themselves can fail --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("src/kstore/log/names.py", "from kstore.partition import Partition\n"),
        ("src/kstore/log/names.py", "def late():\n    import kstore.store\n"),
        ("src/kstore/log/names.py", "from ..groups import offsets\n"),
        ("src/kstore/errors.py", "from kstore import limits\n"),
        ("src/kstore/partition.py", "import kstore\n"),
        ("src/kstore/_native/batch.pyx", "from kstore.log.names cimport thing\n"),
        ("src/kstore/_native/batch.pyx", "    from kstore.log import names as n, epochs\n"),
        ("src/kstore/_native/batch.pxd", "cimport kstore.partition\n"),
    ],
)
def test_a_planted_arrow_is_seen(path: str, text: str) -> None:
    source = Source(path, text)
    assert any(breach(source, one) for one in imports(source))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("src/kstore/log/names.py", "from kstore import errors\nimport os.path\n"),
        ("src/kstore/log/names.py", "if TYPE_CHECKING:\n    from kstore.store import Store\n"),
        ("src/kstore/log/names.py", "from .epochs import LeaderEpochs\n"),
        ("src/kstore/apps/demo.py", "import kstore\n"),
        ("src/kstore/_native/view.pyx", "from kstore._native.file cimport File\nfrom libc.string cimport memcpy\n"),
    ],
)
def test_a_rightful_import_is_not(path: str, text: str) -> None:
    source = Source(path, text)
    assert [breach(source, one) for one in imports(source) if breach(source, one)] == []


def test_a_planted_circle_is_seen() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()}) != []
    assert circle({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}, "d": set()}) == []


def test_the_package_was_found() -> None:
    assert (PACKAGE / "errors.py").is_file()
    assert len(SOURCES) > 10
