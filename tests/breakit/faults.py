"""The break-it list: bugs to plant, one at a time, each with the tests that must notice it.

`fault.py` says what the parts of a fault are; `run.py` plants them. Those of the wire protocol, of groups and of
replication stand in files of their own.
"""

from __future__ import annotations

from fault import Fault
from faults_groups import GROUPS
from faults_replication import REPLICATION
from faults_wire import WIRE

LOG = "tests/unit/log/test_log.py"
LOADER = "tests/unit/log/test_loader.py"
PARTITION = "tests/unit/test_partition.py"
PRODUCERS = "tests/unit/test_partition_producers.py"
FAILING = "tests/unit/log/test_failing_disk.py"
TRUNCATION = "tests/unit/log/test_truncation.py"
ROLLS = "tests/unit/log/test_rolls.py"
QUARANTINE = "tests/unit/log/test_quarantine.py"
CALLS = "tests/crash/test_nth_call.py"
STALLED = "tests/unit/log/test_stalled_fsync.py"
CRASHES = "tests/crash/test_crash_states.py"
COMMIT = "tests/unit/log/test_commit.py"
HEALTH = "tests/unit/log/test_health.py"
STORE = "tests/unit/store/test_store.py"
DIRECTORY = "tests/unit/store/test_directory.py"
CATALOG = "tests/unit/store/test_catalog.py"
REPAIRS = "tests/unit/inspect/test_repairs.py"
VERIFICATION = "tests/unit/inspect/test_verification.py"
LEFTOVERS = "tests/unit/log/test_leftovers.py"


def _python(name: str, origin: str, file: str, text: str, by: str, *tests: str) -> Fault:
    return Fault(name, origin, f"src/kstore/{file}.py", text, by, tests)


DURABILITY = [
    _python(
        "ack before fsync",
        "own (I21)",
        "partition",
        "            self._commit.wait_for(appended.next_offset)\n",
        "            pass\n",
        PARTITION,
        LOG,
    ),
    _python(
        "log not synced",
        "own (S2)",
        "log/log",
        "                segment.flush_log()\n                if segment is not",
        "                if segment is not",
        LOG,
        STORE,
    ),
    _python(
        "new segment's name not synced",
        "KAFKA-3968",
        "log/log",
        "                self.derived.sync_snapshots(mark.segments[1:])\n"
        "                self.disk.sync_dir(self.directory)\n",
        "                self.derived.sync_snapshots(mark.segments[1:])\n",
        LOG,
    ),
    _python(
        "rename without directory fsync",
        "KAFKA-3968",
        "log/disk",
        "        self.sync_dir(os.path.dirname(path))\n",
        "        pass\n",
        "tests/unit/log/test_disk.py",
    ),
    _python(
        "temporary file not synced before its rename",
        "KAFKA-3968",
        "log/disk",
        "self._write(temporary, data, sync=True)",
        "self._write(temporary, data, sync=False)",
        LOG,
        STORE,
    ),
    _python(
        "new directory's name not synced",
        "own (S13)",
        "store/directory",
        '        disk.sync_dir(new.rpartition("/")[0] or ("/" if new.startswith("/") else "."))',
        "        pass",
        DIRECTORY,
        STORE,
    ),
    _python(
        "recovery point ahead of the fsync",
        "KAFKA-3330",
        "log/log",
        '        with self.health.guard("fsync", self.directory, final=True):',
        "        self.recovery_point = mark.next_offset\n"
        '        with self.health.guard("fsync", self.directory, final=True):',
        FAILING,
    ),
    _python(
        "truncated offsets count as synced",
        "own (I21)",
        "partition",
        "            self._commit.rewind(offset)\n",
        "",
        TRUNCATION,
    ),
    _python(
        "second fsync accepted after a failed one",
        "own (S18)",
        "log/commit",
        "                if self._failure is not None:\n                    raise self._failure\n",
        "",
        COMMIT,
    ),
    _python(
        "an epoch whose note failed counts as noted",
        "KAFKA-7415",
        "log/derived",
        "        changed = self.epochs.copy()\n        if changed.assign(",
        "        changed = self.epochs\n        if changed.assign(",
        LOG,
        CALLS,
    ),
    _python(
        "a segment that the disk keeps is forgotten",
        "own (S15)",
        "log/truncation",
        "        if gone < dead:\n",
        "        if False:\n",
        FAILING,
        CALLS,
    ),
    _python(
        "a topic is forgotten before its deletion is noted",
        "KAFKA-8335",
        "store/store",
        "                topics.note_deletion(self._catalog, name, numbers)",
        "                pass",
        STORE,
        CALLS,
    ),
    _python(
        "a failed read of a finished segment breaks a roll",
        "own (S16)",
        "log/derived",
        '        except OSError as error:\n            _log.warning("no seal of',
        '        except ZeroDivisionError as error:\n            _log.warning("no seal of',
        FAILING,
    ),
    _python(
        "a segment begun for a batch that did not come counts as full of it",
        "KAFKA-12153",
        "log/log",
        "self._rewrites or self._replicated or producers or waits)",
        "self._rewrites or self._replicated or producers)",
        CALLS,
        LOG,
    ),
    _python(
        "the writer's lock is held across an fsync",
        "KAFKA-15046",
        "partition",
        "            mark = self._log.mark()\n        return self._log.sync(mark)\n",
        "            mark = self._log.mark()\n            return self._log.sync(mark)\n",
        STALLED,
    ),
    _python(
        "who waits for a stalled disk waits for ever",
        "own (S28)",
        "broker/produce",
        "partial(settled, wait), timeout_s=timeout_s)",
        "partial(settled, wait))",
        "tests/unit/broker/test_durability.py",
    ),
    _python(
        "failed fsync is not final",
        "own (S18)",
        "log/log",
        '        with self.health.guard("fsync", self.directory, final=True):',
        '        with self.health.guard("fsync", self.directory, final=False):',
        FAILING,
    ),
    _python(
        "a sync under way serves later appends",
        "own (S18)",
        "log/commit",
        "                if self._durable_offset >= offset:\n                    return\n",
        "                return\n",
        COMMIT,
    ),
    _python(
        "I/O error of a write passes",
        "own (S17)",
        "log/health",
        "    {errno.ENOSPC, errno.EDQUOT,",
        "    {errno.EIO, errno.ENOSPC, errno.EDQUOT,",
        HEALTH,
        FAILING,
    ),
    _python(
        "a full disk is final",
        "own (S14)",
        "log/health",
        "    {errno.ENOSPC, errno.EDQUOT, ",
        "    {errno.EDQUOT, ",
        HEALTH,
        FAILING,
    ),
]

STOPPING = [
    _python(
        "clean marker not removed at open",
        "KAFKA-10471",
        "store/trust",
        "        self._roots.begin()\n",
        "",
        STORE,
        LOADER,
    ),
    _python(
        "clean marker before the checkpoints",
        "own (S21)",
        "store/store",
        '            self._checkpoint()\n            with self.health.guard("write the clean marker of", self.path):\n'
        "                self._roots.finish(self._broker_epoch)\n",
        '            with self.health.guard("write the clean marker of", self.path):\n'
        "                self._roots.finish(self._broker_epoch)\n            self._checkpoint()\n",
        STORE,
    ),
    _python(
        "clean marker after a failed stop",
        "own (S18)",
        "store/store",
        "        if failure is None and self.health.failure is None:\n            self._checkpoint()",
        "        if True:\n            self._checkpoint()",
        STORE,
        FAILING,
    ),
    _python(
        "lock not taken",
        "own",
        "store/store",
        '            self._lock = self.disk.lock(f"{self.path}/{names.LOCK_FILE}")\n',
        "            pass\n",
        STORE,
    ),
    _python(
        "catalogue's checksum ignored",
        "own (S9)",
        "store/catalog",
        'head[len(MAGIC) :] != b"%08x" % crc32c(body)',
        "not body",
        CATALOG,
    ),
    _python(
        "topic creation not noted first",
        "KAFKA-8335",
        "store/catalog",
        'return Entry(topic_id, partitions, strings(config), "creating", dense)',
        'return Entry(topic_id, partitions, strings(config), "live", dense)',
        STORE,
    ),
]

RECOVERY = [
    _python(
        "recovery cuts below the recovery point",
        "KAFKA-3047",
        "log/loader",
        "if _falls_short(found, end_offset, dense=dense) and found.next_offset < durable:",
        "if False:",
        LOADER,
    ),
    _python(
        "damage in a middle segment is cut",
        "KAFKA-10101",
        "log/loader",
        "if _falls_short(found, end_offset, dense=dense) and found.next_offset < durable:",
        "if _falls_short(found, end_offset, dense=dense) and end_offset < 0 and found.next_offset < durable:",
        LOADER,
        QUARANTINE,
    ),
    _python(
        "the cut tail is thrown away",
        "own (S5)",
        "log/loader",
        "        kept.keep(self.disk, segment.path, found.end_position, removed)\n",
        "",
        LOADER,
    ),
    _python(
        "segments behind a cut stay",
        "KAFKA-6388",
        "log/loader",
        "            self._set_aside(later)\n",
        "            pass\n",
        LOADER,
    ),
    _python(
        "segments behind a cut are thrown away",
        "own (S5)",
        "log/loader",
        "                kept.keep_segment(self.disk, segment.path)\n",
        "                self.disk.unlink(segment.path)\n",
        LOADER,
    ),
    _python(
        "the torn tail stays in the file",
        "own (S1)",
        "log/loader",
        "        segment.truncate(found.end_position, found.next_offset)\n",
        "",
        LOADER,
    ),
    _python(
        "quarantine ignored by readers",
        "own (S6)",
        "log/derived",
        "        segment.set_quarantine(bad)\n",
        "",
        LOADER,
    ),
    _python(
        "a swap's old segments stay",
        "KAFKA-6264",
        "log/leftovers",
        '                disk.unlink(f"{directory}/{name}")\n                done.append(f"removed {name}: compaction',
        '                done.append(f"removed {name}: compaction',
        LEFTOVERS,
    ),
    _python(
        "unfinished cleaning is taken for finished",
        "KAFKA-6324",
        "log/leftovers",
        "    done += _drop_unfinished_cleaning(disk, directory, live)\n",
        "",
        LEFTOVERS,
    ),
    _python(
        "leader epoch written after the append",
        "KAFKA-7415",
        "log/log",
        "        if self._noted_epoch < epoch:\n",
        "        if False:\n",
        LOG,
    ),
    _python(
        "epochs outlive a truncation",
        "KAFKA-7128",
        "log/derived",
        "        if changed.truncate_from_end(end_offset):\n",
        "        if False:\n",
        TRUNCATION,
    ),
    _python(
        "producers outlive a truncation",
        "KAFKA-12520",
        "log/truncation",
        "        restore_producers(log.derived, keep, offset)\n",
        "",
        TRUNCATION,
    ),
    _python(
        "truncation cuts the mapped file",
        "own (S23)",
        "log/prefixes",
        '    temporary = f"{directory}/{TEMPORARY}"\n',
        "    whole = disk.open_file(path)\n    whole.truncate(size_bytes)\n    whole.close()\n    return\n"
        '    temporary = f"{directory}/{TEMPORARY}"\n',
        LOG,
        "tests/unit/log/test_prefixes.py",
    ),
    _python(
        "a log that starts over goes before its new start is written",
        "KAFKA-12153",
        "partition",
        "            self.on_log_start(offset)\n            self.on_rewind(min(base, self._log.recovery_point))\n"
        "            truncation.start_over(self._log, offset, base)\n",
        "            self.on_rewind(min(base, self._log.recovery_point))\n"
        "            truncation.start_over(self._log, offset, base)\n            self.on_log_start(offset)\n",
        CRASHES,
    ),
    _python(
        "the recovery point outlives a full truncation",
        "KAFKA-9491",
        "log/truncation",
        "    log.recovery_point = base_offset\n",
        "",
        "tests/unit/test_replica.py",
        TRUNCATION,
        CRASHES,
    ),
    _python(
        "segments go in any order",
        "own (S12)",
        "log/truncation",
        "        segment.unlink()\n        log.disk.sync_dir(log.directory)\n\n\ndef _position",
        "        segment.unlink()\n\n\ndef _position",
        TRUNCATION,
        CRASHES,
    ),
    _python(
        "snapshot's checksum ignored",
        "KAFKA-16541",
        "log/snapshots",
        "crc != crc32c(data[_HEAD.size :])",
        "crc < 0",
        "tests/unit/log/test_snapshots.py",
        LOADER,
    ),
    _python(
        "sidecars' checksum ignored",
        "KAFKA-16541",
        "log/sidecars",
        " or crc != crc32c(payload, crc32c(head))",
        "",
        "tests/unit/log/test_sidecars.py",
    ),
    _python(
        "damaged abort index stays damaged",
        "KAFKA-7866",
        "log/loader",
        "        self._bad_aborted = derived.load_aborted(listing, segments)\n",
        "        derived.load_aborted(listing, segments)\n        self._bad_aborted = []\n",
        LOADER,
    ),
    _python(
        "a repair leaves the old seals",
        "own",
        "inspect/repairs",
        "    _remove_sidecars(disk, directory)  # first",
        "    # first",
        REPAIRS,
    ),
    _python(
        "verify overlooks missing segments",
        "KAFKA-10101",
        "inspect/segments",
        "    if gap is not None:\n",
        "    if False:\n",
        VERIFICATION,
        LOADER,
    ),
]

SERVING = [
    _python(
        "readers see past the high watermark",
        "KAFKA-2334",
        "partition",
        "return view.read(offset, max_bytes, view.high_watermark)",
        "return view.read(offset, max_bytes, view.log_end_offset)",
        TRUNCATION,
    ),
    _python(
        "truncation below the high watermark",
        "KAFKA-1211",
        "log/log",
        "        if offset < self.view.high_watermark:\n",
        "        if False:\n",
        TRUNCATION,
    ),
    _python(
        "time lookup above the high watermark",
        "KAFKA-9835",
        "log/log",
        "view.offset_for_timestamp(timestamp_ms, view.high_watermark)",
        "view.offset_for_timestamp(timestamp_ms, view.log_end_offset)",
        TRUNCATION,
    ),
    _python(
        "stable offset ignores open transactions",
        "KAFKA-9807",
        "log/log",
        "stable = max(producers.last_stable_offset(mark), view.log_start_offset) if producers else mark",
        "stable = mark",
        PRODUCERS,
    ),
    _python(
        "read_committed shows aborted records",
        "KAFKA-7866",
        "log/log",
        "return view.read(offset, max_bytes, view.last_stable_offset, aborted) if aborted else found",
        "return found",
        PRODUCERS,
    ),
    _python(
        "duplicate answered with the new offset",
        "KAFKA-5429",
        "log/special",
        "return Appended(known.base_offset, known.last_offset + 1, known.timestamp_ms, True)",
        "return Appended(log.view.log_end_offset, log.view.log_end_offset + 1, known.timestamp_ms, True)",
        PRODUCERS,
    ),
    _python(
        "producer state moves though the write failed",
        "KAFKA-6388",
        "log/log",
        "        try:\n            active.append(buffer, info, base, self.leader_epoch)\n",
        "        if row is not None:\n            self.derived.producers.apply(row)\n"
        "        try:\n            active.append(buffer, info, base, self.leader_epoch)\n",
        PRODUCERS,
    ),
    _python(
        "sequence does not wrap",
        "KAFKA-5413",
        "log/producers",
        "return (self.batches[-1].last_sequence + 1) % _SEQUENCES if",
        "return (self.batches[-1].last_sequence + 1) if",
        PRODUCERS,
        "tests/unit/log/test_producers.py",
    ),
    _python(
        "four batches remembered",
        "own (T1)",
        "log/producers",
        "if len(self.batches) == limits.PRODUCER_BATCHES_REMEMBERED:",
        "if len(self.batches) == 4:",
        PRODUCERS,
    ),
    _python(
        "an old epoch is let in",
        "KAFKA-9777",
        "log/producers",
        "    if entry is not None and batch.producer_epoch < entry.epoch:\n        raise _fenced(entry, batch)\n",
        "",
        PRODUCERS,
        "tests/unit/log/test_producers.py",
    ),
    _python(
        "control batches from clients",
        "own (N7)",
        "log/log",
        "        info = native.check(buffer, records=self._records)\n",
        "        info = native.check(buffer, client=False)\n",
        PARTITION,
    ),
    _python(
        "batches above the limit",
        "own",
        "log/log",
        "        if info.largest_batch_bytes > self.config.max_message_bytes:\n",
        "        if False:\n",
        LOG,
        PARTITION,
    ),
    _python(
        "decompression without a cap",
        "own (N8)",
        "compression",
        "    room = limit\n",
        "    room = 1 << 40\n",
        "tests/unit/test_compression.py",
    ),
    _python(
        "roll by the batch's own size alone",
        "own",
        "log/log",
        "active.is_full(info.size_bytes, end - 1, self._roll_bytes) or self._outlived(active, info)",
        "self._outlived(active, info)",
        ROLLS,
    ),
    _python(
        "a failed roll leaves its files",
        "KAFKA-6492",
        "log/log",
        "            self._undo_roll(fresh, base)\n",
        "",
        FAILING,
    ),
    _python(
        "a log start is not remembered",
        "KAFKA-9491",
        "store/checkpointing",
        "        elif partition.log_start_offset > partition.segments[0].base_offset:\n",
        "        elif False:\n",
        PARTITION,
    ),
]

NATIVE = [
    Fault(
        "batches are stored though their checksum is wrong",
        "own (S31)",
        "src/kstore/_native/batch.c",
        "    return crc == header->crc ? sane(header) : KS_BAD_CRC;\n",
        "    return crc != 0 || !crc ? sane(header) : KS_BAD_CRC;\n",
        ("tests/unit/log/test_flips_on_the_way.py",),
        ("batch", "gate"),
    ),
    Fault(
        "partial bytes stay after a failed write",
        "own (S14)",
        "src/kstore/_native/appender.pyx",
        "            self.file.truncate(self.size_bytes)\n",
        "            pass\n",
        (FAILING,),
        ("appender",),
    ),
    Fault(
        "time index entry not forced at roll",
        "KAFKA-10207",
        "src/kstore/_native/segment.pyx",
        "        appender.indexes.force_last_time()\n        self.write_indexes()",
        "        self.write_indexes()",
        (ROLLS,),
        ("segment",),
    ),
    Fault(
        "relative offsets overflow",
        "KAFKA-5264",
        "src/kstore/_native/appender.pyx",
        "                or not 0 <= last_offset - self.base_offset <= INT32_MAX)",
        "                )",
        (ROLLS,),
        ("appender",),
    ),
]

FAULTS = DURABILITY + STOPPING + RECOVERY + SERVING + NATIVE + WIRE + GROUPS + REPLICATION
