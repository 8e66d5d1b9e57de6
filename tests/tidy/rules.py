"""The house rules of docs/STYLE.md that a program can check. A rule takes one source and yields what is wrong.

Rules know nothing about pytest: `test_tidy.py` runs each over the whole project and over one planted breach.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator

from tidy.sources import ROOT, Source

LINE_CHARS_MAX = 120
FILE_LINES_MAX = 500
TEST_FILE_LINES_MAX = 800
FUNCTION_LINES_MAX = 80

Rule = Callable[[Source], Iterator[str]]


def lines_are_short(source: Source) -> Iterator[str]:
    for number, line in enumerate(source.lines, 1):
        if len(line) > LINE_CHARS_MAX and "http" not in line:
            yield f"{source.path}:{number}: {len(line)} characters, the limit is {LINE_CHARS_MAX}"


def files_are_short(source: Source) -> Iterator[str]:
    limit = FILE_LINES_MAX if source.in_package else TEST_FILE_LINES_MAX
    count = source.text.count("\n")
    if count > limit:
        yield f"{source.path}: {count} lines, the limit is {limit}: it does two things, part them"


def functions_are_short(source: Source) -> Iterator[str]:
    for name, first, last in _functions(source):
        if last - first + 1 > FUNCTION_LINES_MAX:
            yield f"{source.path}:{first}: {name} has {last - first + 1} lines, the limit is {FUNCTION_LINES_MAX}"


_UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")


def nothing_is_unfinished(source: Source) -> Iterator[str]:
    for number, line in enumerate(source.lines, 1):
        if found := _UNFINISHED.search(line):
            yield f"{source.path}:{number}: {found.group(1)}"


_EXPLAINED_BY = {".c": ".h", ".pxd": ".pyx", ".pyi": ".pyx"}


def every_file_says_what_it_is(source: Source) -> Iterator[str]:
    """A file opens with what it owns; the second half of a pair may leave that to the first."""
    if source.path.startswith("tests/") and source.path.endswith("__init__.py"):
        return
    explained_by = _EXPLAINED_BY.get(source.suffix)
    if explained_by and (ROOT / source.path).with_suffix(explained_by).is_file():
        return
    if source.suffix == ".py":
        has_header = ast.get_docstring(ast.parse(source.text)) is not None
    elif source.suffix in {".c", ".h"}:
        has_header = source.text.lstrip().startswith(("/*", "//"))
    else:
        body = re.sub(r"^(#\s*(cython:|distutils:).*\n|\s*\n)*", "", source.text)
        has_header = body.startswith(('"""', "#"))
    if not has_header:
        yield f"{source.path}: opens without saying what it owns"


def native_modules_have_stubs(source: Source) -> Iterator[str]:
    if source.suffix == ".pyx" and not (ROOT / source.path).with_suffix(".pyi").is_file():
        yield f"{source.path}: no .pyi beside it"


# -- the operating system's file API -----------------------------------------------------------------------------

_FILE_API_ALLOWED = ("src/kstore/_native/file", "src/kstore/log/disk.py")
_FILE_API_ALLOWED_FOLDERS = ("src/kstore/cli/", "src/kstore/apps/", "src/kstore/testing/")
_FILE_MODULES = frozenset({"mmap", "shutil", "tempfile", "fcntl", "pathlib", "glob", "fileinput", "linecache"})
_FILE_CALLS = frozenset(
    """
    open read write pread pwrite preadv pwritev readv writev lseek fsync fdatasync ftruncate truncate
    fstat stat lstat rename replace renames unlink remove rmdir removedirs mkdir makedirs link symlink
    readlink listdir scandir walk fwalk access chmod chown fchmod fchown utime sendfile copy_file_range
    posix_fallocate posix_fadvise mkfifo mknod dup dup2 close statvfs sync openpty
    """.split()
)
_PATH_CALLS = frozenset(
    {"exists", "lexists", "isfile", "isdir", "islink", "getsize", "getmtime", "realpath", "samefile"}
)
_FILE_HEADERS = re.compile(
    r"""(?x) \#\s*include\s*<(fcntl|unistd|stdio|sys/(mman|stat|uio|file|sendfile))\.h>
    | cdef\s+extern\s+from\s+["']<?(fcntl|unistd|stdio|sys/(mman|stat|uio|file|sendfile))\.h
    | from\s+(posix(?!\.stdlib)(\.\w+)?|libc\.stdio)\s+c?import | c?import\s+(posix|libc\.stdio)\b """
)


def files_are_touched_through_the_seam(source: Source) -> Iterator[str]:
    if not source.in_package or source.path.startswith(_FILE_API_ALLOWED + _FILE_API_ALLOWED_FOLDERS):
        return
    if source.suffix == ".py":
        yield from _python_file_calls(source)
    elif source.suffix != ".pyi":
        pattern = re.compile(rf"(?<![.\w])open\(|\bos\.({'|'.join(sorted(_FILE_CALLS))})\(")
        for number, line in enumerate(source.lines, 1):
            if _FILE_HEADERS.search(line) or (source.suffix in {".pyx", ".pxd"} and pattern.search(line)):
                yield f"{source.path}:{number}: {line.strip()}: only the disk seam touches files"


def _python_file_calls(source: Source) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.text)):
        names: list[str] = []
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            module, _, name = called.rpartition(".")
            if (
                called in {"open", "io.open"}
                or (module == "os" and name in _FILE_CALLS)
                or (module == "os.path" and name in _PATH_CALLS)
            ):
                names = [called]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name in _FILE_MODULES]
        elif isinstance(node, ast.ImportFrom):
            if node.module in _FILE_MODULES:
                names = [node.module]
            elif node.module == "os":
                names = [alias.name for alias in node.names if alias.name in _FILE_CALLS]
        for name in names:
            yield f"{source.path}:{getattr(node, 'lineno', 0)}: {name}: only the disk seam touches files"


# -- habits ------------------------------------------------------------------------------------------------------


def libraries_do_not_print(source: Source) -> Iterator[str]:
    if not source.in_package or source.path.startswith(_FILE_API_ALLOWED_FOLDERS) or source.suffix == ".pyi":
        return
    for number, line in enumerate(source.lines, 1):
        if re.match(r"\s*(print|sys\.stdout\.write|printf)\(", line):
            yield f"{source.path}:{number}: only commands print"


_SILENCED = re.compile(r"#\s*type:\s*ignore(?!\[)|#\s*noqa(?!:)")


def silenced_checks_name_their_rule(source: Source) -> Iterator[str]:
    for number, line in enumerate(source.lines, 1):
        if _SILENCED.search(line):
            yield f"{source.path}:{number}: name the rule that is silenced"


_MACHINE_PATHS = re.compile(r"(?<![\w.])/(work|root|home)/|/opt/kv|/tmp/(kbrief|corpus|wt)\b")


def no_path_of_one_machine(source: Source) -> Iterator[str]:
    for number, line in enumerate(source.lines, 1):
        if found := _MACHINE_PATHS.search(line):
            yield f"{source.path}:{number}: {found.group(0)}"


def _functions(source: Source) -> Iterator[tuple[str, int, int]]:
    """Name, first and last line of every function; docstrings count, because they are read too."""
    if source.suffix == ".py":
        for node in ast.walk(ast.parse(source.text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield node.name, node.lineno, node.end_lineno or node.lineno
    elif source.suffix == ".pyx":
        yield from _cython_functions(source.lines)
    elif source.suffix == ".c":
        yield from _c_functions(source.lines)


_CYTHON_DEF = re.compile(r"^(\s*)(?:def|cdef|cpdef)\b(?!\s+(?:class|extern|enum|struct))[^=]*?(\w+)\s*\(.*$")


def _cython_functions(lines: list[str]) -> Iterator[tuple[str, int, int]]:
    open_one: tuple[str, int, int] | None = None
    last = 0
    for number, line in enumerate([*lines, "end"], 1):
        if not line.strip() or line.lstrip().startswith((")", "#")):
            continue
        indent = len(line) - len(line.lstrip())
        if open_one and indent <= open_one[2]:
            yield open_one[0], open_one[1], last
            open_one = None
        if open_one is None and (found := _CYTHON_DEF.match(line)):
            open_one = (found.group(2), number, len(found.group(1)))
        last = number


def _c_functions(lines: list[str]) -> Iterator[tuple[str, int, int]]:
    name, first = "", 0
    for number, line in enumerate(lines, 1):
        if found := re.match(r"^[a-z_][\w\s*]*?(\w+)\(", line):
            name, first = found.group(1), number
        if line.startswith("}") and name:
            yield name, first, number
            name = ""
