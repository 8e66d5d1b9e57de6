"""Bugs to plant in the group coordinator, each with the test or the invariant of the model that must notice it.

Read by `faults.py`, which says what a fault is.
"""

from __future__ import annotations

from fault import Fault

JOIN = "tests/unit/groups/classic/test_join.py"
SESSION = "tests/unit/groups/classic/test_session.py"
HEARTBEAT = "tests/unit/groups/consumer/test_heartbeat.py"
COMMITTED = "tests/unit/groups/test_committed.py"
LOADING = "tests/unit/groups/test_loading.py"
ASSIGNORS = "tests/unit/groups/test_assignors.py"
RECORDS = "tests/unit/groups/test_records.py"
PATTERNS = "tests/unit/groups/consumer/test_patterns.py"
MODEL = "tests/property/test_groups_model.py"


def _fault(name: str, origin: str, file: str, text: str, by: str, *tests: str) -> Fault:
    return Fault(f"groups: {name}", origin, f"src/kstore/groups/{file}.py", text, by, tests)


GROUPS = [
    _fault(
        "a partition is given while another member holds it",
        "own (I16)",
        "consumer/reconcile",
        "            if is_free(topic_id, number):\n",
        "            if True:\n",
        MODEL,
    ),
    _fault(
        "a member moves on before it has given up",
        "own (I16)",
        "consumer/reconcile",
        "    if given_up and _still_owns(given_up, owned):\n",
        "    if False:\n",
        MODEL,
    ),
    _fault(
        "what waits for revocation counts as free",
        "own (I16)",
        "consumer/group",
        "        for partitions in (member.current.assigned, member.current.pending_revocation):\n"
        "            for topic_id, numbers in partitions.items():\n"
        "                for number in numbers:\n"
        "                    self.owners[topic_id, number] = member.member_id\n",
        "        for partitions in (member.current.assigned,):\n"
        "            for topic_id, numbers in partitions.items():\n"
        "                for number in numbers:\n"
        "                    self.owners[topic_id, number] = member.member_id\n",
        MODEL,
    ),
    _fault(
        "two classic members are given the same assignment",
        "own (I16)",
        "classic/rebalance",
        '        member.assignment = assignments.get(member.member_id, b"")\n',
        '        member.assignment = max(assignments.values(), default=b"")\n',
        MODEL,
    ),
    _fault(
        "an assignment is handed out before it is stored",
        "own (G2)",
        "classic/session",
        "    generation = group.generation\n\n    def done",
        "    generation = group.generation\n    hand_out(shard, group, assignments)\n\n    def done",
        SESSION,
    ),
    _fault(
        "the generation does not grow",
        "own (I16)",
        "classic/group",
        "        self.generation += 1\n",
        "        self.generation += not self.generation\n",
        MODEL,
    ),
    _fault(
        "the group epoch does not grow",
        "own",
        "consumer/draft",
        "            epoch = self.group.group_epoch + 1\n",
        "            epoch = self.group.group_epoch - 1\n",
        MODEL,
    ),
    _fault(
        "a commit is seen before it is stored",
        "own (I16)",
        "committed",
        "    shard.append(request.group_id, records, done, shared=True)\n",
        "    for index, (place, value) in enumerate(commits):\n"
        "        shard.offsets.put(request.group_id, place, Stored(value, 1 << 40))\n"
        "    shard.append(request.group_id, records, done, shared=True)\n",
        MODEL,
    ),
    _fault(
        "a failed commit is acknowledged",
        "own (I16)",
        "committed",
        "        if error is not Code.NONE:\n"
        "            at.reply(token, OffsetCommitResponse(refused_topics(request.topics, error)))\n",
        "        if error is not Code.NONE:\n            at.reply(token, response)\n",
        COMMITTED,
        MODEL,
    ),
    _fault(
        "a zombie of an old generation commits",
        "own (G1)",
        "committed",
        "    if epoch != group.generation:\n",
        "    if epoch > group.generation:\n",
        COMMITTED,
    ),
    _fault(
        "a fenced static member heartbeats on",
        "KIP-345",
        "classic/group",
        "            if holder != member_id:\n",
        "            if False:\n",
        JOIN,
    ),
    _fault(
        "the latest commit is not the one that counts",
        "own (I16)",
        "stored",
        "stored.record_offset > known.record_offset",
        "stored.record_offset < known.record_offset",
        MODEL,
    ),
    _fault(
        "an aborted transaction's commit counts",
        "own",
        "stored",
        "        if committed:\n",
        "        if True:\n",
        COMMITTED,
    ),
    _fault(
        "sessions are forgotten at load",
        "Bufstream: stuck consumers (G3)",
        "coordinator",
        "                    renew_session(shard, group, member.member_id, member.session_timeout_ms)\n",
        "                    pass\n",
        MODEL,
    ),
    _fault(
        "sessions of consumer groups are forgotten at load",
        "own (G3)",
        "coordinator",
        "                resume_members(shard, group)\n",
        "                pass\n",
        MODEL,
    ),
    _fault(
        "the join phase has no deadline",
        "own (G3)",
        "classic/rebalance",
        "    shard.schedule(_join_key(group), group.rebalance_timeout_ms, expire)\n",
        "    del expire\n",
        JOIN,
    ),
    _fault(
        "who does not sync stays",
        "own",
        "classic/rebalance",
        "    shard.schedule(_sync_key(group), group.rebalance_timeout_ms, expire)\n",
        "    del expire\n",
        SESSION,
    ),
    _fault(
        "a parked request does not stand for heartbeats",
        "own",
        "classic/group",
        "        return not self.is_new and (self.join_token is not None or self.sync_token is not None)\n",
        "        return False\n",
        SESSION,
    ),
    _fault(
        "a new member's parked join does not expire",
        "own",
        "classic/group",
        "        return not self.is_new and (",
        "        return (",
        JOIN,
    ),
    _fault(
        "a revocation has no deadline",
        "own (G3)",
        "consumer/heartbeat",
        "    elif moved:\n",
        "    elif False:\n",
        HEARTBEAT,
    ),
    _fault(
        "a second revocation runs under the first one's deadline",
        "own (G3)",
        "consumer/heartbeat",
        "    elif moved:\n",
        "    elif key not in shard.timers:\n",
        HEARTBEAT,
    ),
    _fault(
        "a fencing that the log refused is given up",
        "own (G3)",
        "consumer/heartbeat",
        "            retry_ms = at.settings.group_consumer_heartbeat_interval_ms\n",
        "            retry_ms = 1 << 60\n",
        HEARTBEAT,
    ),
    _fault(
        "a refused fencing for a revocation is saved by heartbeats",
        "own (G3)",
        "consumer/heartbeat",
        "(_session_key if epoch is None else _rebalance_key)(",
        "_session_key(",
        HEARTBEAT,
    ),
    _fault(
        "requests overtake an append",
        "own",
        "coordinator",
        "        return not self.exclusive and not (needs_quiet and self.commits)\n",
        "        return not (needs_quiet and self.commits)\n",
        SESSION,
    ),
    _fault(
        "a timer that was set again runs all the same",
        "own",
        "timers",
        "        if current is None or current.serial != timer.serial:\n",
        "        if current is None:\n",
        SESSION,
    ),
    _fault(
        "a deletion overtakes a commit",
        "own",
        "coordinator",
        "partial(committed.delete_group, group_id=name, then=then), quiet=True)",
        "partial(committed.delete_group, group_id=name, then=then))",
        COMMITTED,
    ),
    _fault(
        "offsets in use expire",
        "KAFKA-4682",
        "committed",
        "    if since_ms is None or group.is_subscribed_to(place[0]) or",
        "    if since_ms is None or",
        COMMITTED,
    ),
    _fault(
        "offsets of a group with members expire",
        "KAFKA-4682",
        "committed",
        "    if group.uses_consumer_protocol and group.subscribed_topics is not None and",
        "    if True or",
        COMMITTED,
    ),
    _fault(
        "an answer that was lost lets a zombie back in",
        "own (G1)",
        "consumer/heartbeat",
        "    if not lost_answer or not _is_subset(request.topic_partitions, current):\n",
        "    if not lost_answer:\n",
        HEARTBEAT,
    ),
    _fault(
        "a commit for a partition that was lost counts",
        "KIP-1251",
        "consumer/group",
        "            if since is None or since > epoch:\n",
        "            if since is not None and since > epoch:\n",
        HEARTBEAT,
    ),
    _fault(
        "uniform is not fair",
        "own",
        "assignors",
        "        del owned[member_id][share:]\n",
        "        pass\n",
        ASSIGNORS,
    ),
    _fault(
        "uniform is not sticky",
        "own",
        "assignors",
        "    owned = _kept(order, members, counts)\n",
        "    owned = {member_id: [] for member_id in order}\n",
        ASSIGNORS,
    ),
    _fault(
        "an instance id is given away while it is in use",
        "KIP-848",
        "consumer/heartbeat",
        "    if holder.epoch != LEAVE_STATIC:\n",
        "    if False:\n",
        HEARTBEAT,
    ),
    _fault(
        "a static member's new id is not stored",
        "own",
        "classic/join",
        "    assignments = {one.member_id: one.assignment for one in group.members.values()}\n    shard.append(",
        "    assignments = {}\n    done(shard, Code.NONE, -1)\n    (",
        JOIN,
    ),
    _fault(
        "an empty group is not stored",
        "own",
        "classic/rebalance",
        "        shard.append(group.group_id, [group_metadata_record(group.group_id, group.as_stored({}))], _ignore)\n",
        "        pass\n",
        SESSION,
    ),
]
