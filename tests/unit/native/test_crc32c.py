"""CRC32C: every implementation that this processor has, against PyPI's crc32c, RFC 3720 and its own algebra."""

from __future__ import annotations

import array
import mmap
import os
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import crc32c as oracle
import numpy as np
import pytest

import kstore
from kstore._native import crc32c as native

RUNGS = native.supported_rungs()
LENGTHS = range(4097)
ALIGNMENTS = range(64)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"123456789", 0xE3069283),
        (b"", 0),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (
            bytes.fromhex(
                "01c000000000000000000000000000001400000000000400000000140000001828000000000000000200000000000000"
            ),
            0xD9963A56,
        ),
    ],
    ids=["check", "empty", "zeros", "ones", "rising", "falling", "iscsi-read"],
)
def test_the_vectors_of_rfc_3720(data: bytes, expected: int) -> None:
    assert kstore.crc32c(data) == expected
    for rung in RUNGS:
        assert native.crc32c_with(rung, data) == expected


@pytest.mark.parametrize("rung", RUNGS)
def test_every_length_at_every_alignment(rung: str) -> None:
    page = mmap.mmap(-1, 8192)  # starts on a page, so that the index below is the alignment
    page[:] = random.Random(1).randbytes(8192)
    whole = memoryview(page)
    for alignment in ALIGNMENTS:
        for length in LENGTHS:
            data = whole[alignment : alignment + length]
            if native.crc32c_with(rung, data) != oracle.crc32c(data):
                pytest.fail(f"{rung} differs at length {length}, alignment {alignment}")


@pytest.mark.parametrize("rung", RUNGS)
def test_long_input_and_its_continuation(rung: str, seed: int) -> None:
    dice = random.Random(seed)
    data = dice.randbytes(300_000)
    for _ in range(200):
        begin, end = sorted(dice.choices(range(len(data) + 1), k=2))
        middle = dice.randint(begin, end)
        head, tail = memoryview(data)[begin:middle], memoryview(data)[middle:end]
        value = dice.getrandbits(32)
        expected = oracle.crc32c(data[begin:end], value)
        assert native.crc32c_with(rung, tail, native.crc32c_with(rung, head, value)) == expected


@pytest.mark.parametrize("combine", [native.combine, native.combine_portable])
def test_combine_equals_the_checksum_of_the_whole(combine: object, seed: int) -> None:
    dice = random.Random(seed)
    for length in [0, 1, 15, 16, 17, 255, 4096, 65535, 65536, 65997, *dice.choices(range(1 << 18), k=50)]:
        a, b = dice.randbytes(dice.randrange(100)), dice.randbytes(length)
        assert combine(oracle.crc32c(a), oracle.crc32c(b), length) == oracle.crc32c(a + b)  # type: ignore[operator]


def test_combine_takes_lengths_that_no_buffer_has(seed: int) -> None:
    """Zeros after a message: moving over 2^k of them twice is moving over 2^(k+1), for every bit of the length."""
    dice = random.Random(seed)
    for bit in range(63):
        crc = dice.getrandbits(32)
        twice = native.combine(native.combine(crc, 0, 1 << bit), 0, 1 << bit)
        assert native.combine(crc, 0, 2 << bit) == twice == native.combine_portable(crc, 0, 2 << bit)


def test_any_contiguous_buffer_is_welcome() -> None:
    data = bytes(range(256)) * 300  # above the size at which the GIL is let go
    expected = oracle.crc32c(data)
    mapped = mmap.mmap(-1, len(data))
    mapped[:] = data
    for buffer in [data, bytearray(data), memoryview(data), mapped, array.array("B", data), np.frombuffer(data, ">i8")]:
        assert kstore.crc32c(buffer) == expected
    mapped.close()
    assert kstore.crc32c(bytearray()) == kstore.crc32c(memoryview(b"")) == kstore.crc32c(b"", value=0) == 0
    assert kstore.crc32c(b"", 7) == 7


def test_what_is_no_contiguous_buffer_is_refused() -> None:
    with pytest.raises(BufferError):
        kstore.crc32c(memoryview(b"abcdef")[::2])
    with pytest.raises((BufferError, ValueError)):
        kstore.crc32c(np.arange(10)[::2])
    for wrong in ["text", None, 5, [1, 2]]:
        with pytest.raises(TypeError):
            kstore.crc32c(wrong)  # type: ignore[arg-type]
    for value in [-1, 1 << 32]:
        with pytest.raises(OverflowError):
            kstore.crc32c(b"", value)


def test_a_buffer_is_given_back() -> None:
    data = bytearray(100_000)
    kstore.crc32c(data)
    native.crc32c_with("table", data)
    data.append(1)  # BufferError while anyone holds it


def test_threads_agree() -> None:
    data = random.Random(2).randbytes(1 << 20)
    expected, wrong = oracle.crc32c(data), []

    def work() -> None:
        wrong.extend(1 for _ in range(50) if kstore.crc32c(data) != expected)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# -- the choice of a rung, made when a process loads the module --------------------------------------------------


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != "KSTORE_CPU"}
    return subprocess.run(
        [sys.executable, "-c", code], env={**inherited, **environment}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("rung", RUNGS)
def test_the_environment_chooses_a_rung(rung: str) -> None:
    code = "from kstore._native import crc32c as c; print(c.rung(), c.crc32c(bytes(range(200))), c.combine(1, 2, 300))"
    done = python(code, KSTORE_CPU=rung)
    assert done.stdout.split() == [rung, str(oracle.crc32c(bytes(range(200)))), str(native.combine(1, 2, 300))]


def test_the_fastest_is_chosen_unasked() -> None:
    for environment in [{}, {"KSTORE_CPU": ""}]:
        done = python("from kstore._native import crc32c; print(crc32c.rung())", **environment)
        assert done.stdout.strip() == RUNGS[-1], done.stderr


@pytest.mark.parametrize("module", ["crc32c", "batch"])
def test_a_rung_that_is_not_there_is_refused_by_name(module: str) -> None:
    done = python(f"import kstore._native.{module}", KSTORE_CPU="avx1024")
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("kstore.errors.UsageError: KSTORE_CPU: ")
    assert "'avx1024'" in last
    assert RUNGS[-1] in last
    with pytest.raises(kstore.UsageError, match="avx1024"):
        native.crc32c_with("avx1024", b"")


GUARDED = """
import ctypes, mmap, sys
from kstore._native import crc32c
libc = ctypes.CDLL(None, use_errno=True)
page = mmap.PAGESIZE
pages = mmap.mmap(-1, 4 * page)
start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
for guard in (start, start + 3 * page):
    assert libc.mprotect(ctypes.c_void_p(guard), ctypes.c_size_t(page), 0) == 0
view = memoryview(pages)
for rung in crc32c.supported_rungs():
    for length in [*range(1200), 2 * page]:
        crc32c.crc32c_with(rung, view[page : page + length])
        crc32c.crc32c_with(rung, view[3 * page - length : 3 * page])
print("done", flush=True)
import os; os._exit(0)
"""


def test_no_byte_beyond_either_end_is_read() -> None:
    """Pages without access on both sides: a read beyond the buffer ends the process."""
    done = python(GUARDED)
    assert done.stdout.strip() == "done", done.returncode


# -- the other architecture, emulated ------------------------------------------------------------------------------

CROSS_COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"

EMULATED = """
#include <stdio.h>
#include "crc32c.h"
int main(void)
{
    static unsigned char data[70000];
    size_t n = fread(data, 1, sizeof data, stdin);
    if (!ks_crc32c_supported(KS_RUNG_ARMV8)) return 1;
    for (size_t length = 0; length < 4097; length++)
        printf("%u\\n", ks_crc32c_with(KS_RUNG_ARMV8, 0, data + length % 64, length));
    printf("%u\\n", ks_crc32c_with(KS_RUNG_ARMV8, 0, data, n));
    return 0;
}
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not (shutil.which(CROSS_COMPILER) and shutil.which(EMULATOR)), reason=f"needs {CROSS_COMPILER} and {EMULATOR}"
)
def test_the_arm_instructions_under_emulation(tmp_path: Path) -> None:
    sources = Path(__file__).resolve().parents[3] / "src" / "kstore" / "_native"
    main, program = tmp_path / "main.c", tmp_path / "main"
    main.write_text(EMULATED)
    files = [str(main), *(str(sources / name) for name in ("crc32c.c", "crc32c_arm.c"))]
    subprocess.run([CROSS_COMPILER, "-O2", "-static", "-I", str(sources), *files, "-o", str(program)], check=True)
    data = random.Random(3).randbytes(70000)
    done = subprocess.run([EMULATOR, str(program)], input=data, capture_output=True, check=True)
    expected = [oracle.crc32c(data[n % 64 : n % 64 + n]) for n in LENGTHS] + [oracle.crc32c(data)]
    assert [int(line) for line in done.stdout.split()] == expected
