"""The wheel and the sdist that `make wheel` left in dist/: what is in them, and whether a stranger can use them.

Run by `make package`. The fresh environment is made once for the module; every command runs outside the source tree.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

pytestmark = pytest.mark.package

ROOT = Path(__file__).resolve().parents[2]
DIST = ROOT / "dist"
NATIVE = sorted(path.stem for path in (ROOT / "src/kstore/_native").glob("*.pyx"))
IMPORT_MS_MAX = 60


@pytest.fixture(scope="module")
def wheel() -> Path:
    found = list(DIST.glob("*.whl"))
    assert len(found) == 1, "run `make package`"
    return found[0]


@pytest.fixture(scope="module")
def wheel_names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment that holds the wheel and its own requirements, nothing more."""
    home = tmp_path_factory.mktemp("fresh") / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], check=True, timeout=600)
    return python


def run(python: Path, cwd: Path, *arguments: str, expected: int = 0) -> str:
    """Runs the installed interpreter away from the source tree, without the caller's PYTHONPATH."""
    done = subprocess.run(
        [python, *arguments], cwd=cwd, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stdout


def test_wheel_holds_every_native_module_and_its_stub(wheel_names: list[str]) -> None:
    for name in NATIVE:
        built = [one for one in wheel_names if one.startswith(f"kstore/_native/{name}.") and one.endswith(".so")]
        assert len(built) == 1, f"{name}: {built}"
        assert f"kstore/_native/{name}.pyi" in wheel_names
    assert "kstore/py.typed" in wheel_names


def test_wheel_holds_every_python_module(wheel_names: list[str]) -> None:
    source = ROOT / "src"
    modules = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}
    assert modules - set(wheel_names) == set()


def test_wheel_holds_nothing_else(wheel_names: list[str]) -> None:
    allowed = (".py", ".pyi", ".so", "py.typed")
    strange = [one for one in wheel_names if ".dist-info/" not in one and not one.endswith(allowed)]
    assert strange == []
    assert {one.split("/")[0].split("-")[0] for one in wheel_names} == {"kstore"}


def test_wheel_says_what_it_needs(wheel: Path, wheel_names: list[str]) -> None:
    metadata_name = next(one for one in wheel_names if one.endswith(".dist-info/METADATA"))
    with zipfile.ZipFile(wheel) as archive:
        metadata = HeaderParser().parsestr(archive.read(metadata_name).decode())
    required = [one for one in metadata.get_all("Requires-Dist", []) if "extra ==" not in one]
    assert sorted(one.split(">")[0].strip() for one in required) == ["crc32c", "numpy"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert set(metadata.get_all("Provides-Extra", [])) >= {"compression", "cli", "arrow", "all"}
    assert any(one.endswith("licenses/LICENSE") for one in wheel_names)


def test_sdist_holds_all_that_is_tracked_and_no_junk() -> None:
    (archive,) = DIST.glob("*.tar.gz")
    with tarfile.open(archive) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    tracked = subprocess.run(
        ["git", "ls-files", "src", "tests", "docs"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    assert set(tracked) - names == set()
    assert {"pyproject.toml", "CMakeLists.txt", "README.md", "LICENSE", "Makefile"} <= names
    junk = [name for name in names if name.endswith((".so", ".pyc", ".o", ".log")) or "__pycache__" in name]
    assert [name for name in junk if name not in tracked] == []


SMOKE = """
import json, sys
import kstore

with kstore.open("data") as store:
    store.create_topic("orders", partitions=2)
    log = store.partition("orders", 1)
    done = log.append([b"created", (b"customer-7", b"paid")], durable=True)
    values = [record.value for record in log.read(done.base_offset)]
with kstore.open("data", read_only=True) as store:
    again = [record.value for record in store.partition("orders", 1).read(0)]
report = kstore.verify("data")
print(json.dumps([[v.decode() for v in values], [v.decode() for v in again], len(report.findings), kstore.__version__]))
"""


def test_a_fresh_environment_appends_reads_and_verifies(installed: Path, wheel: Path, tmp_path: Path) -> None:
    values, again, findings, version = json.loads(run(installed, tmp_path, "-c", SMOKE))
    assert values == again == ["created", "paid"]
    assert findings == 0
    assert f"kstore-{version}-" in wheel.name


def test_the_command_runs(installed: Path, tmp_path: Path) -> None:
    kstore = str(installed.parent / "kstore")
    (tmp_path / "lines").write_bytes(b"one\ntwo\n")
    run(installed, tmp_path, kstore, "topics", "create", "t", "--dir", "d")
    run(installed, tmp_path, kstore, "produce", "t", "lines", "--dir", "d")
    assert run(installed, tmp_path, kstore, "consume", "t", "--dir", "d", "--from-beginning") == "one\ntwo\n"
    run(installed, tmp_path, kstore, "log", "verify", "d")
    run(installed, tmp_path, kstore, "topics", "describe", "absent", "--dir", "d", expected=2)


def test_import_is_quick_and_loads_nothing_unused(
    installed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = (
        "import time, sys, numpy; start = time.perf_counter(); import kstore; "
        "print((time.perf_counter() - start) * 1000)"
    )
    times = sorted(float(run(installed, tmp_path, "-c", program)) for _ in range(7))
    with capsys.disabled():
        print(f"\nimport kstore: {times[0]:.1f} ms more than numpy alone (median of 7: {times[3]:.1f} ms)")
    assert times[0] < IMPORT_MS_MAX
    loaded = run(installed, tmp_path, "-c", "import sys, kstore; print(*sys.modules)").split()
    assert set(loaded) & {"numpy", "crc32c", "cramjam", "rich", "argparse", "asyncio", "threading"} == set()
    used = run(installed, tmp_path, "-c", "import sys, kstore; kstore.open('d').close(); print(*sys.modules)").split()
    assert set(used) & {"crc32c", "cramjam", "rich", "argparse", "asyncio", "pyarrow"} == set()


def test_an_editor_finds_the_types(installed: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import kstore\n"
        "with kstore.open('data') as store:\n"
        "    done = store.partition('orders', 0).append([b'a'])\n"
        "    offset: int = done.base_offset\n"
        "    wrong: str = done.base_offset\n"
    )
    mypy = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--python-executable", installed, program],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    if "No module named mypy" in mypy.stderr:
        pytest.skip("mypy is not installed: make lint installs it")
    complaints = [line for line in mypy.stdout.splitlines() if ": error:" in line]
    assert len(complaints) == 1, mypy.stdout
    assert ":5: error" in complaints[0]
