"""CRC-32C: every rung against PyPI's crc32c and awscrt, from Python."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.support.bench import Bench
from kstore._native import crc32c as native

SIZES = {"61 B": 61, "1 KiB": 1024, "16 KiB": 16384, "64 KiB": 65536, "1 MiB": 1 << 20}
LAP_BYTES = 8 << 20
CALLS_MAX = 10_000


def repeated(function: Callable[[bytes], object], data: bytes, times: int) -> Callable[[], None]:
    def work() -> None:
        for _ in range(times):
            function(data)

    return work


def bench_crc32c(bench: Bench) -> None:
    """G4: 64 KiB at least 2.5 times as fast as PyPI's, as fast as awscrt; 1 KiB in 0.6 of PyPI's time."""
    pypi, awscrt = bench.peer("crc32c"), bench.peer("awscrt.checksums")
    for name, size in SIZES.items():
        data = random.Random(size).randbytes(size)
        times = min(CALLS_MAX, LAP_BYTES // size)
        race = bench.race()
        race.add("kstore", repeated(native.crc32c, data, times), units=times)
        if not isinstance(pypi, str):
            race.add("PyPI crc32c", repeated(pypi.crc32c, data, times), units=times)
        if not isinstance(awscrt, str):
            race.add("awscrt", repeated(awscrt.crc32c, data, times), units=times)
        result = race.run()
        what = f"CRC-32C of {name}"
        unit: dict[str, Any] = {"unit": name, "unit_bytes": size, "kind": "peer", "note": native.rung()}
        for peer, module, floor in (("PyPI crc32c", pypi, 2.5), ("awscrt", awscrt, 1.0)):
            if isinstance(module, str):
                bench.skip("G4", what, peer, floor, module)
            elif size == 1024 and peer == "PyPI crc32c":
                bench.time("G4", what, result, peer, 0.6, **unit)
            else:
                bench.speed("G4", what, result, peer, floor if size == 65536 else None, **unit)


def bench_rungs(bench: Bench) -> None:
    """What each rung that this processor has gives at 64 KiB; no floors but the first row's of `bench_crc32c`."""
    pypi = bench.peer("crc32c")
    if isinstance(pypi, str):
        bench.skip("G4", "each rung at 64 KiB", "PyPI crc32c", None, pypi)
        return
    data = random.Random(1).randbytes(65536)
    race = bench.race()
    race.add("PyPI crc32c", repeated(pypi.crc32c, data, 64), units=64)
    for rung in native.supported_rungs():
        times = 8 if rung == "table" else 64
        race.add(rung, repeated(partial(native.crc32c_with, rung), data, times), units=times)
    result = race.run()
    for rung in native.supported_rungs():
        unit: dict[str, Any] = {"name": rung, "kind": "peer", "unit": "64 KiB", "unit_bytes": 65536}
        bench.speed("G4", f"rung {rung}, 64 KiB", result, "PyPI crc32c", None, **unit)
