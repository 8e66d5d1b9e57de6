"""Bugs of replication to plant: Kafka's own, as small changes of ours, and a few that could happen only here.

Each must be noticed by the unit tests that it names, and by the simulator.
"""

from __future__ import annotations

from fault import Fault

MACHINES = "tests/unit/replication"
REPLICA = "tests/unit/test_replica.py"
LOG = "tests/unit/log/test_log.py"
TRUNCATION = "tests/unit/log/test_truncation.py"
CONTROLLER = "tests/unit/replication/controller"


def _plant(name: str, origin: str, file: str, text: str, by: str, *tests: str) -> Fault:
    return Fault(f"replication: {name}", origin, f"src/kstore/{file}.py", text, by, tests or (MACHINES,))


LEADER = [
    _plant(
        "a follower joins the ISR before the leader's epoch start",
        "KAFKA-7128",
        "replication/leader",
        "    needed = max(state.local.high_watermark, state.epoch_start_offset)\n",
        "    needed = state.local.high_watermark\n",
    ),
    _plant(
        "a follower joins the ISR in a life that is over",
        "KAFKA-15221",
        "replication/leader",
        "    return (p.follower, p.broker_epoch) in state.eligible\n",
        "    return p.follower in dict(state.eligible)\n",
    ),
    _plant(
        "the high watermark forgets whom the ISR may have gained",
        "KAFKA-13207",
        "replication/leader",
        "    members = state.maximal_isr\n    reached",
        "    members = frozenset(state.assignment.isr)\n    reached",
    ),
    _plant(
        "records are committed below min.insync.replicas",
        "KIP-966",
        "replication/leader",
        "    if len(state.assignment.isr) < state.min_isr or state.resignation is not None:\n",
        "    if state.resignation is not None:\n",
    ),
    _plant(
        "the end of the log goes back after an election",
        "KAFKA-2334",
        "replication/leading",
        "    if state.local.high_watermark < state.epoch_start_offset:\n",
        "    if False:\n",
    ),
    _plant(
        "acks=all is answered like acks=1",
        "own (I1)",
        "replication/leader",
        "    if event.acks == -1:\n        waiting",
        "    if event.acks == -2:\n        waiting",
    ),
    _plant(
        "acks=all does not wait for the leader's fsync",
        "own (I21)",
        "replication/leader",
        "        limit = min(limit, state.local.durable_offset)\n",
        "        pass\n",
    ),
    _plant(
        "the leader counts its own unsynced bytes",
        "own (I2)",
        "replication/leading",
        "        return self.local.durable_offset if self.rules.sync is Sync.ALL else self.local.log_end_offset\n",
        "        return self.local.log_end_offset\n",
    ),
    _plant(
        "a fetch is not fenced by its leader epoch",
        "KAFKA-6880",
        "replication/leader",
        "    code = check_epoch(request.leader_epoch, state.assignment.leader_epoch)\n    known",
        "    code = Code.NONE\n    known",
    ),
    _plant(
        "a fetch of an earlier life counts",
        "KAFKA-15221",
        "replication/leader",
        "    if code is Code.NONE and (known is None or request.broker_epoch < known.broker_epoch):\n",
        "    if code is Code.NONE and known is None:\n",
    ),
    _plant(
        "an old fetch that arrives late counts",
        "own (R10)",
        "replication/progress",
        "        return (request.broker_epoch, request.number) > (self.broker_epoch, self.number)\n",
        "        return True\n",
    ),
    _plant(
        "the leader does not see that the logs part",
        "KAFKA-1211",
        "replication/leader",
        "    return (epoch, end) if epoch < asked or end < request.offset else None\n",
        "    return None\n",
    ),
    _plant(
        "the logs part only where epochs differ",
        "KAFKA-10706",
        "replication/leader",
        "    return (epoch, end) if epoch < asked or end < request.offset else None\n",
        "    return (epoch, end) if epoch < asked else None\n",
    ),
    _plant(
        "a lagging follower counts as caught up whenever it asks",
        "KAFKA-3978",
        "replication/progress",
        "        if request.offset >= leader_end:\n",
        "        if True:\n",
    ),
    _plant(
        "a lagging follower never leaves the ISR",
        "KAFKA-7786",
        "replication/leader",
        "    late = {p.follower for p in state.followers if not p.is_caught_up(end, now_ms, lag)}\n",
        "    late = set[int]()\n",
    ),
    _plant(
        "a proposal without an answer is forgotten",
        "KAFKA-10432",
        "replication/leader",
        "        state = replace(state, proposal=replace(proposal, sent_ms=now_ms))\n    state, settled",
        "        state = replace(state, proposal=None)\n    state, settled",
    ),
    _plant(
        "an answer to an older proposal is taken for this one's",
        "KAFKA-13207",
        "replication/leader",
        "        or event.partition_epoch != proposal.partition_epoch\n",
        "",
    ),
    _plant(
        "a refused proposal is not withdrawn",
        "own (KIP-497)",
        "replication/leader",
        "        return _withdraw(state, proposal, now_ms)\n",
        "        return settle(replace(state, proposal=None), now_ms)\n",
    ),
    _plant(
        "a new leader does not note its epoch",
        "KIP-101",
        "replication/leader",
        "    local = replace(local, lineage=lineage.assigned(local.lineage, assignment.leader_epoch, start))\n",
        "",
    ),
    _plant(
        "a leader with damage below its end leads on",
        "NATS #7549",
        "replication/leader",
        "    if local.damaged_offset >= 0:  # above",
        "    if False:  # above",
    ),
    _plant(
        "an append is taken though too few are in sync",
        "KIP-966",
        "replication/leading",
        "    if acks == -1 and len(state.assignment.isr) < state.min_isr:\n",
        "    if False:\n",
    ),
    _plant(
        "a leader that gave up commits on",
        "own (R12)",
        "replication/leader",
        "    if len(state.assignment.isr) < state.min_isr or state.resignation is not None:\n",
        "    if len(state.assignment.isr) < state.min_isr:\n",
    ),
]

FOLLOWER = [
    _plant(
        "a new follower truncates to its high watermark",
        "KAFKA-1211",
        "replication/follower",
        "    if not local.lineage and local.log_end_offset > local.high_watermark:\n",
        "    if local.log_end_offset > local.high_watermark:\n",
    ),
    _plant(
        "one answer is believed about where the logs part",
        "KAFKA-6361",
        "replication/follower",
        "        target, done = own_end, False\n",
        "        target, done = min(own_end, end_offset), True\n",
    ),
    _plant(
        "batches of a later epoch than asked for are appended",
        "KAFKA-18723",
        "replication/follower",
        "        if batch.epoch > state.assignment.leader_epoch:\n",
        "        if False:\n",
    ),
    _plant(
        "an answer to an older request is believed",
        "KAFKA-9807",
        "replication/follower",
        "    if state.phase is not Phase.FETCHING or reply.number != state.number:\n",
        "    if state.phase is not Phase.FETCHING:\n",
    ),
    _plant(
        "batches that do not continue the log are appended",
        "KAFKA-4384",
        "replication/follower",
        "        if not end <= batch.base_offset < batch.next_offset or not epoch <= batch.epoch:\n",
        "        if not epoch <= batch.epoch:\n",
    ),
    _plant(
        "the high watermark passes what the follower holds",
        "KAFKA-9835",
        "replication/follower",
        "    mark = min(state.leader_high_watermark, own)\n",
        "    mark = state.leader_high_watermark\n",
    ),
    _plant(
        "a follower reports what is not on its medium",
        "own (I2)",
        "replication/follower",
        "        return self.rules.sync is Sync.NONE or self.local.durable_offset >= self.local.log_end_offset\n",
        "        return True\n",
    ),
    _plant(
        "a full truncation leaves the marks where they were",
        "KAFKA-9491",
        "replication/follower",
        "local=Local(offset, offset, offset, offset)), (StartOver(",
        "local=replace(state.local, log_end_offset=offset)), (StartOver(",
    ),
    _plant(
        "every fetch out of range starts the log over",
        "KAFKA-12153",
        "replication/follower",
        "    if reply.log_start_offset > end:\n",
        "    if True:\n",
    ),
    _plant(
        "epochs outlive the truncation of their records",
        "KAFKA-7415",
        "replication/follower",
        "        lineage=lineage.ending_at(local.lineage, offset),\n",
        "        lineage=local.lineage,\n",
    ),
    _plant(
        "a fetch tells the leader's epoch instead of the log's",
        "KAFKA-7164",
        "replication/follower",
        "        local.latest_epoch if state.rules.truncate_on_fetch else NO_EPOCH,\n",
        "        assignment.leader_epoch if state.rules.truncate_on_fetch else NO_EPOCH,\n",
    ),
    _plant(
        "an answer that is overdue is waited for for ever",
        "KAFKA-8012",
        "replication/follower",
        "    return _ask(state, now_ms) if due is not None and due <= now_ms else (state, ())\n",
        "    return state, ()\n",
    ),
    _plant(
        "nobody follows an unclean election",
        "KAFKA-19474",
        "replication/follower",
        "        unclean = state.assignment.unclean_epoch > local.latest_epoch\n",
        "        unclean = False\n",
    ),
]

REST = [
    _plant(
        "older metadata of the same term is taken",
        "KAFKA-9144",
        "replication/machine",
        "(assignment.leader_epoch, assignment.partition_epoch) <= (known.leader_epoch, known.partition_epoch):",
        "assignment.leader_epoch < known.leader_epoch:",
    ),
    _plant(
        "a corrupt answer ends the fetching",
        "KAFKA-4384",
        "fetched",
        "    except InvalidBatch:\n        return (), True\n",
        "    except ZeroDivisionError:\n        return (), True\n",
        REPLICA,
    ),
    _plant(
        "a replica begins with its high watermark at its log end",
        "KAFKA-12153",
        "replica",
        "        mark = max(min(high_watermark, partition.log_end_offset), partition.log_start_offset)\n",
        "        mark = partition.log_end_offset\n",
        REPLICA,
    ),
    _plant(
        "a failed fsync counts as one that worked",
        "own (I22)",
        "replica",
        "            self._go_offline(error, now_ms)\n            return\n        except KStoreError:\n",
        "            durable = self.partition.log_end_offset\n        except KStoreError:\n",
        REPLICA,
    ),
    _plant(
        "a truncation leaves the producers as they were",
        "KAFKA-9144",
        "log/truncation",
        "        restore_producers(log.derived, keep, offset)\n",
        "        pass\n",
        TRUNCATION,
    ),
    _plant(
        "what is appended after a truncation counts as synced",
        "own (I21)",
        "partition",
        "            self._commit.rewind(offset)\n",
        "            pass\n",
        TRUNCATION,
        REPLICA,
    ),
    _plant(
        "an epoch that was cut counts as noted",
        "KAFKA-7415",
        "log/log",
        "        self._noted_epoch = self.derived.epochs.latest_epoch\n        self.view = view\n",
        "        self.view = view\n",
        LOG,
        REPLICA,
    ),
    _plant(
        "a follower does not note its leader's epochs",
        "KIP-101",
        "log/log",
        "        if self._noted_epoch < epoch:\n            with",
        "        if False:\n            with",
        LOG,
        REPLICA,
    ),
    _plant(
        "DeleteRecords passes the high watermark",
        "KAFKA-5634",
        "log/log",
        "        if offset > view.high_watermark:\n            raise OffsetOutOfRange",
        "        if False:\n            raise OffsetOutOfRange",
        "tests/unit/test_partition.py",
        LOG,
        REPLICA,
    ),
    _plant(
        "anybody alive may lead cleanly",
        "KIP-966",
        "replication/controller/election",
        "        return replica in members and acceptable(replica)\n",
        "        return acceptable(replica)\n",
        CONTROLLER,
    ),
    _plant(
        "the controller takes a proposal on an older state",
        "KAFKA-13207",
        "replication/controller/alter",
        "    if command.partition_epoch < known.partition_epoch:\n        return Code.INVALID_UPDATE_VERSION\n",
        "",
        CONTROLLER,
    ),
    _plant(
        "the controller lets an earlier life into the ISR",
        "KAFKA-15221",
        "replication/controller/alter",
        "    return cluster.is_current(member, epoch)\n",
        "    return True\n",
        CONTROLLER,
    ),
    _plant(
        "a fenced broker may join the ISR",
        "KIP-841",
        "replication/controller/alter",
        "    if not cluster.is_active(member):\n        return False\n",
        "",
        CONTROLLER,
    ),
    _plant(
        "who lost records stays eligible",
        "KAFKA-19522",
        "replication/controller/eligible",
        "and r not in isr and r not in lost))\n",
        "and r not in isr))\n",
        CONTROLLER,
    ),
    _plant(
        "a proposal of an earlier term is taken",
        "KAFKA-3330",
        "replication/controller/alter",
        "    if command.leader_epoch < known.leader_epoch:\n        return Code.FENCED_LEADER_EPOCH\n    if command.b",
        "    if command.b",
        CONTROLLER,
    ),
]

REPLICATION = LEADER + FOLLOWER + REST
