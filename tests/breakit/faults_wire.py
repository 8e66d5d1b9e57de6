"""Bugs to plant in the wire protocol: those that other brokers and clients had, and those that could happen here.

Read by `faults.py`, which says what a fault is.
"""

from __future__ import annotations

from fault import Fault

CODEC = "tests/unit/wire/test_codec.py"
FRAMES = "tests/unit/wire/test_frames.py"
REPEATS = "tests/unit/native/test_repeats.py"
HOSTILE = "tests/unit/wire/test_hostile.py"
CONSUMER = "tests/unit/wire/test_consumer_protocol.py"

NATIVE_MODULES = ("wire_layout", "wire_reader", "wire_writer")


def _wire(name: str, origin: str, file: str, text: str, by: str, *tests: str) -> Fault:
    return Fault(f"wire: {name}", origin, f"src/kstore/wire/{file}.py", text, by, tests)


def _stream(name: str, origin: str, text: str, by: str) -> Fault:
    return Fault(f"wire: {name}", origin, "src/kstore/_native/stream.pyx", text, by, (FRAMES,), ("stream",))


def _repeat(name: str, text: str, by: str, *tests: str) -> Fault:
    return Fault(f"repeats: {name}", "own", "src/kstore/_native/repeats.pyx", text, by, tests, ("repeats",))


def _walk(name: str, origin: str, text: str, by: str, *tests: str) -> Fault:
    return Fault(f"wire: {name}", origin, "src/kstore/_native/wire.c", text, by, tests, NATIVE_MODULES)


WIRE = [
    _wire(
        "a flexible header before ApiVersions",
        "KIP-511",
        "apis",
        "        return 1 if self.is_flexible(version) and self.key != API_VERSIONS else 0\n",
        "        return 1 if self.is_flexible(version) else 0\n",
        CODEC,
    ),
    _wire("Produce is advertised from 3 on", "KAFKA-18659", "apis", "{PRODUCE: (0, 11)", "{PRODUCE: (3, 11)", CODEC),
    _wire(
        "a refusal in the version that was asked for",
        "librdkafka's mock",
        "negotiation",
        "    return encode_response(body, 0, header.correlation_id)\n",
        "    return encode_response(body, 3, header.correlation_id)\n",
        CODEC,
    ),
    _wire(
        "a refusal is read in the version that was asked for",
        "KIP-511",
        "codec",
        "== _UNSUPPORTED_VERSION:\n        version = 0\n",
        "== _UNSUPPORTED_VERSION:\n        pass\n",
        CODEC,
    ),
    _wire("a compact client id", "KIP-482", "codec", "version == 2, compact=False)", "version == 2)", CODEC),
    _wire(
        "values are dropped without a word",
        "own",
        "layouts",
        "if line not in present and not line.ignorable]",
        "if line not in present and False]",
        CODEC,
    ),
    _wire(
        "tagged fields in the order of the table",
        "own",
        "layouts",
        "key=lambda line: line.tag or 0)",
        "key=lambda line: 0)",
        HOSTILE,
    ),
    _stream(
        "memory for the size that was claimed",
        "CVE-2022-34917",
        "wanted = min(needed, max(self.expected, LARGE_BYTES_MIN, GROWTH * have))",
        "wanted = needed",
    ),
    _stream("a frame of no bytes", "own (N1)", "if size < 1 or size >", "if size < 0 or size >"),
    _stream(
        "a frame is a view of the buffer that is received into",
        "own",
        "memoryview(PyBytes_FromStringAndSize(<char*>self.data + start, size))",
        "memoryview(self.chunk)[start : start + size].toreadonly()",
    ),
    _stream(
        "what came behind a large frame goes with it",
        "own",
        "            self.move_to_other(max(self.expected, have))\n",
        "            self.chunk = None\n            self.begin = self.end = self.capacity = 0\n",
    ),
    _stream(
        "a buffer that somebody holds is shared",
        "own",
        " and Py_REFCNT(<PyObject*>self.chunk) == 1:",
        ":",
    ),
    _repeat("what stands behind the records is not looked at", " suffix) != 0):", " 0) != 0):", REPEATS),
    _repeat("batches that are counted go together", " or header.producer_id >= 0):", "):", REPEATS),
    _repeat("batches of transactions fit", "& (KS_TRANSACTIONAL | KS_CONTROL)", "& KS_CONTROL", REPEATS),
    _repeat(
        "a request is taken before it is stored",
        "    run.end = frame - reader.data\n",
        "    run.end = frame - reader.data\n    reader.begin = run.end\n",
        REPEATS,
    ),
    _repeat("every answer has the first offset", "            base_offset += self.deltas[i] + 1\n", "", REPEATS),
    _repeat(
        "what stands behind a fetch's offset is not looked at",
        "                and memcmp(frame + behind, own + behind, size - behind) == 0)\n",
        "                and True)\n",
        REPEATS,
    ),
    Fault(
        "repeats: a fetch is answered though its leader epoch is another",
        "own",
        "src/kstore/broker/repeated_fetch.py",
        "        if self.leader_epoch not in (-1, log.leader_epoch):\n            return None\n",
        "",
        ("tests/unit/broker/test_repeated_fetch.py",),
    ),
    Fault(
        "repeats: aborted transactions are not told",
        "own",
        "src/kstore/broker/repeated_fetch.py",
        "return None if batches.aborted else (partition, view, batches)",
        "return partition, view, batches",
        ("tests/unit/broker/test_repeated_fetch.py",),
    ),
    Fault(
        "repeats: a parked fetch is answered before it has enough",
        "own",
        "src/kstore/broker/repeated_fetch.py",
        "missing_bytes = target.min_bytes - batches.size_bytes",
        "missing_bytes = 1 - batches.size_bytes",
        ("tests/unit/broker/test_repeated_fetch.py",),
    ),
    Fault(
        "repeats: the parked fetch of a client that went stays",
        "own",
        "src/kstore/broker/repeated_fetch.py",
        "self.call.on_lost = partial(waiting.cancel, ",
        "_ = (",
        ("tests/unit/broker/test_repeated_fetch.py",),
    ),
    Fault(
        "network: two threads send to one client at once",
        "own",
        "src/kstore/broker/connection.py",
        "        if self._is_away:\n            return  # who is away does it\n",
        "",
        ("tests/unit/broker/test_network.py",),
    ),
    Fault(
        "network: a socket is closed under the thread that sends",
        "own",
        "src/kstore/broker/connection.py",
        "        if self._is_away:\n            self._end = reason, level\n            return\n",
        "",
        ("tests/unit/broker/test_network.py",),
    ),
    Fault(
        "network: who answers others lets go of the lock",
        "own",
        "src/kstore/broker/connection.py",
        " or not self._may_go:",
        ":",
        ("tests/unit/broker/test_network.py",),
    ),
    Fault(
        "network: a stop leaves connections with loops that are gone",
        "own",
        "src/kstore/broker/network.py",
        "            connection.move_to(first)",
        "            pass",
        ("tests/unit/broker/test_network.py",),
    ),
    Fault(
        "loop: what another thread asks for waits for the next event",
        "own",
        "src/kstore/broker/loop.py",
        "        self._ready.append((callback, args))\n        if not self.is_here:\n            self._interrupt()\n",
        "        self._ready.append((callback, args))\n",
        ("tests/unit/broker/test_loop.py",),
    ),
    Fault(
        "loop: the first timer of another thread waits for the next event",
        "own",
        "src/kstore/broker/loop.py",
        "        if self._timers[0] is timer and not self.is_here:\n            self._interrupt()\n",
        "",
        ("tests/unit/broker/test_loop.py",),
    ),
    Fault(
        "loop: loops with one lock call at the same time",
        "own",
        "src/kstore/broker/loop.py",
        "self.lock = lock or Lock()",
        "self.lock = Lock()",
        ("tests/unit/broker/test_loop.py",),
    ),
    Fault(
        "repeats: compacted topics take them",
        "own",
        "src/kstore/broker/repeated_produce.py",
        "            config.compacts\n            or (",
        "            (",
        ("tests/unit/broker/test_repeats.py",),
    ),
    _wire(
        "a layout for every version that a peer makes up",
        "own",
        "consumer_protocol",
        "layout(kind, min(version, VERSION_MAX), False)",
        "layout(kind, version, False)",
        CONSUMER,
    ),
    _walk(
        "a count is believed",
        "KAFKA-14063",
        "    if (count > (end - q) / bytes_min) return fail(walk, *p, KS_WIRE_SHORT);\n",
        "",
        HOSTILE,
    ),
    _walk("elements are not counted", "own (N3)", "    walk->elements_left -= count;\n", "", HOSTILE),
    _walk(
        "null is nothing",
        "KAFKA-14063",
        "        if (!field->nullable) return fail(walk, *p, KS_WIRE_NULL);\n",
        "",
        HOSTILE,
    ),
    _walk(
        "tags may repeat",
        "Kafka #13100",
        "        if (tag <= last) return fail(walk, start, KS_WIRE_TAG_ORDER);\n",
        "",
        HOSTILE,
    ),
    _walk(
        "a tagged field may leave bytes",
        "Redpanda #30160",
        "            if (q != field_end) {\n",
        "            if (0) {\n",
        HOSTILE,
    ),
    _walk(
        "text is any bytes",
        "own",
        "    if (kind == KS_WIRE_STRING && !ks_wire_utf8(q, q + length)) return fail(walk, q, KS_WIRE_UTF8);\n",
        "",
        HOSTILE,
    ),
    _walk(
        "surrogates are text",
        "own",
        "first == 0xed ? 0x9f : first == 0xf4",
        "first == 0xf4",
        HOSTILE,
    ),
    Fault(
        "broker: records of large and packed batches are not looked at",
        "LogValidator",
        "src/kstore/broker/service.py",
        "    partition.check_records()\n",
        "",
        ("tests/unit/broker/test_hostile_batches.py",),
    ),
    Fault(
        "broker: a stranger takes the place of a client",
        "own (N12)",
        "src/kstore/broker/listener.py",
        "            if connections.has_room(str(address[0])):\n",
        "            if True:\n",
        ("tests/unit/broker/test_flood.py", "tests/unit/broker/test_connection.py"),
    ),
    Fault(
        "a partition behind a symbolic link",
        "own (N10)",
        "src/kstore/store/topics.py",
        'if disk.is_dir(f"{root}/{name}", follow=False)}',
        'if disk.is_dir(f"{root}/{name}")}',
        ("tests/unit/broker/test_hostile_clients.py",),
    ),
]
