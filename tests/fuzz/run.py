"""Fuzz the native parsers: libFuzzer with AddressSanitizer and UndefinedBehaviorSanitizer over `fuzz_*.c`.

    python tests/fuzz/run.py [SECONDS] [TARGET ...]

Builds every harness with clang, runs each for SECONDS (60) from the committed corpus and exits 1 on the first finding;
libFuzzer then names the file that shows it again:  build/fuzz/TARGET FILE.  What a run finds new stays in
`build/fuzz/TARGET.found` for the next one. `--merge` brings what is new in it into the committed corpus.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
NATIVE = ROOT / "src" / "kstore" / "_native"
BUILD = ROOT / "build" / "fuzz"
SANITIZERS = "-fsanitize=fuzzer,address,undefined"
FLAGS = ("-std=c11", "-g", "-O1", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all", f"-I{NATIVE}", f"-I{HERE}")
MEMORY_MB_MAX = 512


def targets() -> list[str]:
    """The names of all harnesses."""
    return sorted(path.stem.removeprefix("fuzz_") for path in HERE.glob("fuzz_*.c"))


def build(clang: str, target: str) -> Path:
    """Compile one harness with every C file of the native core."""
    program = BUILD / target
    sources = [HERE / f"fuzz_{target}.c", *sorted(NATIVE.glob("*.c"))]
    subprocess.run([clang, *FLAGS, SANITIZERS, *map(str, sources), "-o", str(program)], check=True)
    return program


def run(program: Path, seconds: int) -> int:
    """Fuzz for a while; the exit code of libFuzzer."""
    found = BUILD / f"{program.name}.found"
    found.mkdir(exist_ok=True)
    command = [
        str(program),
        str(found),
        str(HERE / "corpus" / program.name),
        f"-max_total_time={seconds}",
        f"-rss_limit_mb={MEMORY_MB_MAX}",
        "-timeout=5",
        "-print_final_stats=1",
        "-verbosity=0",
        f"-seed={os.environ.get('KSTORE_SEED', 0)}",  # 0: another one every time
        f"-artifact_prefix={BUILD}/{program.name}-",
    ]
    # Under the AVX-512 checksum the sanitizers see what they see under the others: the rungs have tests of their own.
    return subprocess.run(command, check=False, env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1"}).returncode


def merge(program: Path) -> None:
    """Take inputs that reach new code into the committed corpus."""
    corpus = HERE / "corpus" / program.name
    subprocess.run([str(program), "-merge=1", str(corpus), str(BUILD / f"{program.name}.found")], check=True)


def main() -> int:
    """Build and run; 0 when nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", nargs="?", type=int, default=60, help="for each target (%(default)s)")
    parser.add_argument("target", nargs="*", help=f"of {', '.join(targets())}; all by default")
    parser.add_argument("--merge", action="store_true", help="bring new inputs into the committed corpus")
    arguments = parser.parse_args()
    unknown = set(arguments.target) - set(targets())
    if unknown:
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(targets())}")
    clang = os.environ.get("CLANG") or shutil.which("clang")
    if clang is None:
        print("clang is needed for libFuzzer: apt-get install clang", file=sys.stderr)
        return 2
    BUILD.mkdir(parents=True, exist_ok=True)
    for target in arguments.target or targets():
        print(f"== {target}", flush=True)
        program = build(clang, target)
        if run(program, arguments.seconds):
            return 1
        if arguments.merge:
            merge(program)
    return 0


if __name__ == "__main__":
    sys.exit(main())
