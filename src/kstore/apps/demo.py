"""The demonstration: the standard library's source lines through two processes, a kill, a flipped byte, a broker.

Owns the story that `make demo` tells; every step is a command or a call that a user can repeat, and every claim in
the summary is checked, not printed. It must not do anything that the public surface does not offer. Run with
`python -m kstore.apps.demo [DIR]`; exit code 0 only when everything agreed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kstore
from kstore.apps import demo_broker
from kstore.apps.demo_stage import Stage
from kstore.apps.routing import Routing

TOPIC, GROUP, PARTITIONS = "lines", "reader", 3
COMMIT_SHARE = 0.35
"""Commits after 35 and 70 % of the lines: the consumer that dies halfway has a window to show."""


class Demo(Stage):
    """The story; keeps the facts for the summary."""

    def __init__(self, directory: Path) -> None:
        """`directory` is emptied by whoever calls."""
        super().__init__(directory)
        self.data = directory / "data"
        self.output = directory / "output.txt"
        self.begun_s = time.monotonic()

    def run(self) -> int:
        """Tell the whole story; returns the exit code."""
        self.gather_input()
        self.copy_with_a_kill()
        self.compare()
        self.look_up()
        self.dump_one_batch()
        self.flip_a_byte()
        demo_broker.tell(self)
        self.bench()
        return self.summary()

    # -- the story ------------------------------------------------------------------------------------------

    def gather_input(self) -> None:
        """Every source line of the installed standard library, in one file."""
        self.say("the input: every source line of the installed Python standard library")
        library = Path(sysconfig.get_path("stdlib"))
        files = sorted(p for p in library.rglob("*.py") if "site-packages" not in p.parts)
        with self.input.open("wb") as out:
            for path in files:
                data = path.read_bytes()
                out.write(data if not data or data.endswith(b"\n") else data + b"\n")
        self.lines = self.input.read_bytes().split(b"\n")[:-1]
        self.commit_every = max(int(len(self.lines) * COMMIT_SHARE), 1)
        size = self.input.stat().st_size
        print(f"  {len(files)} files, {len(self.lines):,} lines, {size / 1e6:.1f} MB -> {self.input.name}")
        self.facts.append(("input", f"{len(self.lines):,} lines, {size / 1e6:.1f} MB, {len(files)} files"))

    def copy_with_a_kill(self) -> None:
        """Producer and consumer side by side; the consumer is killed halfway and started again."""
        self.say("file-producer writes, file-consumer follows with a group, in two processes on one directory")
        self.show("topics", "create", TOPIC, "--dir", str(self.data), "--partitions", str(PARTITIONS))
        consume = (
            *("file-consumer", TOPIC, str(self.output), "--dir", str(self.data)),
            *("--group", GROUP, "--commit-every", str(self.commit_every)),
        )
        print(f"$ kstore {' '.join(consume)} --follow &".replace(f"{self.directory}/", ""))
        consumer = subprocess.Popen(self.command(*consume, "--follow"), stderr=subprocess.DEVNULL)
        try:
            begun_s = time.monotonic()
            producer = subprocess.Popen(
                self.command("file-producer", str(self.input), TOPIC, "--dir", str(self.data)),
                stderr=subprocess.PIPE,
                text=True,
            )
            print(f"$ kstore file-producer {self.input.name} {TOPIC} --dir {self.data.name}", flush=True)
            self.wait_for_half(consumer)
        finally:
            consumer.send_signal(signal.SIGKILL)
            consumer.wait()
        killed_at = self.output.stat().st_size
        _, said = producer.communicate()
        self.check(producer.returncode == 0, "the producer failed")
        for line in said.replace(f"{self.directory}/", "").splitlines():
            self.quote(line)
        print(f"  the consumer was killed with -9 when {self.output.name} had {killed_at:,} bytes; again:")
        done = self.show(*consume, "--json")
        seconds = time.monotonic() - begun_s
        self.check(done.returncode == 0, "the resumed consumer failed")
        self.resumed: dict[str, Any] = json.loads(done.stdout.splitlines()[0])
        self.show("groups", "describe", GROUP, "--dir", str(self.data))
        self.facts.append(("copied", f"{PARTITIONS} partitions, {seconds:.1f} s with the kill and the restart"))

    def wait_for_half(self, consumer: subprocess.Popen[bytes]) -> None:
        """Return once half of the input is in the output."""
        half = self.input.stat().st_size // 2
        while consumer.poll() is None:
            if self.output.exists() and self.output.stat().st_size >= half:
                return
            time.sleep(0.005)
        self.check(False, "the consumer ended by itself")

    def compare(self) -> None:
        """The output against the input: nothing lost, nothing invented, duplicates exactly the window."""
        self.say("the output against the input")
        wanted, found = Counter(self.lines), Counter(self.output.read_bytes().split(b"\n")[:-1])
        lost, extra = wanted - found, found - wanted
        window = int(self.resumed["window_lines"])
        self.check(not lost, f"{lost.total()} lines are missing from the output")
        self.check(not set(found) - set(wanted), "the output has lines that the input has not")
        self.check(extra.total() == window, f"{extra.total()} duplicates, but the window was {window}")
        print(f"  lost 0, invented 0, duplicates {extra.total():,}".replace("lost 0", f"lost {lost.total()}"))
        print(
            f"  why duplicates: {window:,} lines were in the output after the last commit when the consumer died;\n"
            f"  at-least-once reads them again. --commit-every {self.commit_every} bounds it, --exactly removes it."
        )
        expected = Routing(PARTITIONS).split(self.lines, 0)
        with kstore.open(self.data, read_only=True) as store:
            for index in range(PARTITIONS):
                order = expected.get(index, []) == _values(store.partition(TOPIC, index))
                self.check(order, f"partition {index} does not hold its lines in file order")
        print(f"  each of the {PARTITIONS} partitions holds exactly its lines of the file, in file order")
        self.facts.append(("lost / invented", f"{lost.total()} / {len(set(found) - set(wanted))}"))
        self.facts.append(("written twice", f"{extra.total():,} lines = the window that the killed consumer left"))

    def look_up(self) -> None:
        """A record by its offset, and one by its time, from Python."""
        self.say("look up an offset and a timestamp, in Python")
        with kstore.open(self.data, read_only=True) as store:
            log = store.partition(TOPIC, 0)
            middle = log.log_end_offset // 2
            record = next(r for r in log.read(middle, max_bytes=1) if r.offset >= middle)
            print(f"  log.read({middle}) -> {(record.value or b'')[:60]!r}")
            found = log.offset_for_timestamp(record.timestamp_ms or 0)
            print(f"  log.offset_for_timestamp({record.timestamp_ms}) -> {found}")
            self.check(record.offset == middle, f"offset {middle} gave record {record.offset}")
            self.check(found is not None and found[0] <= middle, "the timestamp led behind its record")

    def dump_one_batch(self) -> None:
        """The first batch of partition 1 as `kafka-dump-log` would show it."""
        self.say("one batch, field by field")
        self.show("log", "dump", str(self.segment(self.data)), "--records", "--max-entries", "3")

    def segment(self, data: Path) -> Path:
        """The first segment of partition 1."""
        return sorted((data / f"{TOPIC}-1").glob("*.log"))[0]

    def flip_a_byte(self) -> None:
        """Verify; flip one byte in a copy; verify, repair and verify that."""
        self.say("verify the directory; flip one byte in a copy; verify, repair")
        clean = self.show("log", "verify", str(self.data))
        self.check(clean.returncode == 0, "verify found damage in the untouched directory")
        copy = self.directory / "copy"
        shutil.copytree(self.data, copy)
        path = self.segment(copy)
        position = path.stat().st_size // 2
        with path.open("r+b") as file:
            file.seek(position)
            byte = file.read(1)[0]
            file.seek(position)
            file.write(bytes([byte ^ 0x40]))
        print(f"  (one bit of byte {position} of {path.relative_to(self.directory)} flipped)")
        harmed = self.show("log", "verify", str(copy))
        self.check(harmed.returncode == 1, "verify did not find the flipped bit")
        self.show("log", "repair", str(copy), "--dry-run")
        repaired = self.show("log", "repair", str(copy))
        self.check(repaired.returncode == 0, "repair failed")
        again = self.show("log", "verify", str(copy), lines=3)
        self.check(again.returncode == 0, "the repaired copy does not verify")
        self.facts.append(("one flipped bit", "found by verify, cut out by repair, its bytes kept in a sidecar"))

    def bench(self) -> None:
        """This machine's limits and kstore."""
        self.say("this machine's limits against kstore")
        done = self.show("bench", "--quick", lines=40)
        self.check(done.returncode == 0, "bench failed")

    def summary(self) -> int:
        """One screen; the exit code."""
        self.say("summary")
        self.facts.append(("time", f"{time.monotonic() - self.begun_s:.1f} s"))
        for name, fact in self.facts:
            print(f"  {name:16} {fact}")
        for failure in self.failures:
            print(f"  FAILED           {failure}")
        print(
            f"\nThe directory is {self.data}: a log.dir of Kafka. Look around:\n"
            f"  kstore topics describe --dir {self.data}\n"
            f"  kstore consume {TOPIC} --dir {self.data} --partition 0 --offset 1000 --max-messages 3 --json\n"
            f"  kstore graduate {self.data} --to {self.directory}/kafka     # a real broker boots on that\n"
            "Read on: README.md, then docs/howto/follow-a-file.md and docs/ARCHITECTURE.md."
        )
        return 1 if self.failures else 0


def _values(partition: Any) -> list[bytes]:
    values: list[bytes] = []
    offset = partition.log_start_offset
    while offset < partition.log_end_offset:
        batches = partition.read(offset, max_bytes=4 << 20)
        values.extend(record.value for record in batches)
        offset = batches.next_offset
    return values


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration in DIR (made anew) or in a temporary directory, which stays."""
    parser = argparse.ArgumentParser(prog="python -m kstore.apps.demo", description="kstore from end to end")
    parser.add_argument("directory", nargs="?", metavar="DIR", help="where to work (default: a temporary directory)")
    args = parser.parse_args(argv)
    if args.directory is None:
        return Demo(Path(tempfile.mkdtemp(prefix="kstore-demo-"))).run()
    directory = Path(args.directory).absolute()
    if directory.exists() and any(directory.iterdir()) and not (directory / "input.txt").exists():
        print(f"kstore: {directory} holds something else; name an empty directory", file=sys.stderr)
        return 2
    shutil.rmtree(directory, ignore_errors=True)
    os.makedirs(directory)
    return Demo(directory).run()


if __name__ == "__main__":
    raise SystemExit(main())
