"""Writing into an embedded store: against lmdb in append mode and RocksDB, none of them syncing.

Only the writing thread's time counts: what RocksDB compacts in the background is given to it for nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from types import ModuleType

from benchmarks.support import samples
from benchmarks.support.bench import Bench, Topics

TRANSACTION = 10_000
WRITE_BATCH = 1000
LAP_BYTES = 24 << 20
FLOORS = {"lmdb": {100: 3.0, 1024: 1.7}, "rocksdict": {100: 5.0, 1024: 2.2}}


class Lmdb:
    """Appends in order, 10,000 records a transaction, without syncing; emptied between the rounds."""

    def __init__(self, lmdb: ModuleType, path: str, values: list[bytes], records: int) -> None:
        self._environment = lmdb.open(path, map_size=1 << 30, sync=False, metasync=False)
        self._values = values
        self._records = records

    def write(self) -> None:
        values, pack = self._values, struct.Struct(">Q").pack
        for begin in range(0, self._records, TRANSACTION):
            end = min(begin + TRANSACTION, self._records)
            rows = [(pack(i), values[i % len(values)]) for i in range(begin, end)]
            with self._environment.begin(write=True) as transaction:
                transaction.cursor().putmulti(rows, append=True)

    def empty(self) -> None:
        with self._environment.begin(write=True) as transaction:
            transaction.drop(self._environment.open_db(txn=transaction), delete=False)


def writing_rocks(rocksdict: ModuleType, path: str, values: list[bytes], records: int) -> Callable[[], None]:
    database = rocksdict.Rdict(path, rocksdict.Options(raw_mode=True))
    number = 0

    def write() -> None:
        nonlocal number
        for begin in range(0, records, WRITE_BATCH):
            batch = rocksdict.WriteBatch(raw_mode=True)
            for i in range(begin, min(begin + WRITE_BATCH, records)):
                batch.put(struct.pack(">Q", number + i), values[i % len(values)])
            database.write(batch)
        number += records

    return write


def bench_embedded(bench: Bench) -> None:
    """G10: lists of values appended 3 times as fast as lmdb and 5 times as rocksdict writes them (1 KiB: 1.7, 2.2)."""
    for size in (100, 1024):
        count = samples.RECORDS_100 if size == 100 else samples.RECORDS_1K
        values = samples.values(count * 16, size)
        records = LAP_BYTES // size // len(values) * len(values) or len(values)
        pieces = [values[i : i + count] for i in range(0, len(values), count)]
        what = f"write values of {size} B"
        with bench.store() as store, bench.place() as place:
            topics = Topics(store)

            def append(topics: Topics = topics, pieces: list[list[bytes]] = pieces, records: int = records) -> None:
                for _ in range(records // (len(pieces) * len(pieces[0]))):
                    for piece in pieces:
                        topics.partition.append(piece, timestamp_ms=samples.TIMESTAMP_MS)

            race = bench.race()
            race.add("kstore", append, units=records, before=topics.fresh, after=topics.drop)
            modules = {name: bench.peer(name) for name in FLOORS}
            lmdb, rocksdict = modules["lmdb"], modules["rocksdict"]
            if not isinstance(lmdb, str):
                peer = Lmdb(lmdb, f"{place}/lmdb", values, records)
                race.add("lmdb", peer.write, units=records, after=peer.empty)
            if not isinstance(rocksdict, str):
                race.add("rocksdict", writing_rocks(rocksdict, f"{place}/rocks", values, records), units=records)
            result = race.run()
        for name, floors in FLOORS.items():
            module = modules[name]
            if isinstance(module, str):
                bench.skip("G10", what, name, floors[size], module)
            else:
                bench.speed("G10", what, result, name, floors[size], kind="peer", unit="record")
