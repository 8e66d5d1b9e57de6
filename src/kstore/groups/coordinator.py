"""The coordinator of one partition of `__consumer_offsets`: events in, effects out, many groups inside.

Owns the order of things: which event a group may see while an append of it is on its way, what happens at which
deadline, and what is answered while the partition loads or after it moved away. Knows no rule of a group's protocol,
no socket, disk or clock. Called by the broker, one event at a time (it is not thread-safe).

Invariants
1. A group takes no event between an append that changes it and the report of that append; they wait in order. A
   commit of offsets waits for nobody but what came before it.
2. Every `Call` gets exactly one `Reply`, at the latest at `Unloaded`.
3. After `load` of what was appended, the coordinator stands where the one before it stood (G2).

docs/GROUPS.md draws events and effects and shows a broker's part.
"""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import NamedTuple

from kstore.errors import UsageError
from kstore.groups import committed, describe, requests, responses
from kstore.groups.classic.group import ClassicGroup, State
from kstore.groups.classic.join import join_group
from kstore.groups.classic.rebalance import prepare_rebalance, renew_session
from kstore.groups.classic.session import heartbeat, leave_group, sync_group
from kstore.groups.codes import Code, code_of_append_error
from kstore.groups.consumer.heartbeat import consumer_group_heartbeat, resume_members
from kstore.groups.effects import (
    Appended,
    AppendFailed,
    Call,
    Effect,
    Event,
    MetadataChanged,
    Schedule,
    TimePassed,
    TopicsDeleted,
    Unloaded,
)
from kstore.groups.records import decode
from kstore.groups.refusals import refusal
from kstore.groups.replaying import replay
from kstore.groups.settings import GroupSettings
from kstore.groups.shard import Action, Shard
from kstore.groups.timers import Timer, TimerKey

_RETENTION = TimerKey("retention", "")


class _Waiting(NamedTuple):
    needs_quiet: bool
    """Also wait for commits of offsets that are on their way."""
    run: Action


class _Lane:
    """What is going on in one group: appends on their way, and events that wait for them."""

    __slots__ = ("commits", "exclusive", "waiting")

    def __init__(self) -> None:
        self.exclusive = False
        self.commits = 0
        self.waiting: deque[_Waiting] = deque()

    def takes(self, needs_quiet: bool) -> bool:
        return not self.exclusive and not (needs_quiet and self.commits)

    @property
    def is_idle(self) -> bool:
        return not (self.exclusive or self.commits or self.waiting)


class Coordinator:
    """All groups whose name falls on one partition of `__consumer_offsets`."""

    def __init__(self, settings: GroupSettings | None = None) -> None:
        """A coordinator that is loading: every request is told so until `loaded`."""
        self._shard = Shard(settings or GroupSettings())
        self._lanes: dict[str, _Lane] = {}
        self._phase = Code.COORDINATOR_LOAD_IN_PROGRESS
        self._told_deadline_ms: int | None = None

    @property
    def shard(self) -> Shard:
        """The state, to look at."""
        return self._shard

    # -- loading --------------------------------------------------------------------------------------------

    def load(self, key: bytes, value: bytes | None, offset: int, producer_id: int = -1) -> None:
        """Replay one record of the partition, in order; `producer_id` for one in a transactional batch.

        Raises `ValueError` when the bytes are no group record: the caller knows file and offset, reports it and
        may go on. Of a batch that was read with read_committed no producer id need be given.
        """
        if self._phase is not Code.COORDINATOR_LOAD_IN_PROGRESS:
            raise UsageError("load() comes before loaded(); make another Coordinator to load again")
        replay(self._shard, decode(key, value), offset, producer_id)

    def load_marker(self, producer_id: int, committed_: bool) -> None:
        """Replay a transaction marker, between the records around it."""
        self._shard.offsets.end_transaction(producer_id, committed_)

    def loaded(self, now_ms: int) -> list[Effect]:
        """Everything is replayed: serve from now on, and expect signs of life of every member."""
        shard = self._begin(now_ms)
        self._phase = Code.NONE
        for group in list(shard.groups.values()):
            if isinstance(group, ClassicGroup):
                for member in group.members.values():
                    renew_session(shard, group, member.member_id, member.session_timeout_ms)
                if len(group.members) > shard.settings.group_max_size:
                    # The limit was lowered: let them rejoin, the last ones are turned away.
                    prepare_rebalance(shard, group)
            else:
                resume_members(shard, group)
        self._schedule_retention()
        return self._end()

    # -- events ---------------------------------------------------------------------------------------------

    def handle(self, event: Event, now_ms: int) -> list[Effect]:
        """What is to be done about an event that happened at `now_ms`, milliseconds since 1970."""
        shard = self._begin(now_ms)
        match event:
            case Call():
                self._call(event)
            case Appended(append_id, base_offset):
                self._appended(append_id, Code.NONE, base_offset)
            case AppendFailed(append_id, error_code):
                self._appended(append_id, code_of_append_error(error_code), -1)
            case TimePassed():
                for timer in shard.timers.due(shard.now_ms):
                    self._enter(timer.key.group_id, partial(_fire, timer))
            case MetadataChanged(topics):
                shard.topics = topics
                shard.topics_version += 1
            case TopicsDeleted(names):
                for group_id in shard.offsets.group_ids():
                    self._enter(group_id, partial(committed.delete_topics, group_id=group_id, names=names), quiet=True)
            case Unloaded():
                self._unload()
        return self._end()

    def _begin(self, now_ms: int) -> Shard:
        self._shard.now_ms = max(now_ms, self._shard.now_ms)
        return self._shard

    def _end(self) -> list[Effect]:
        deadline_ms = self._shard.timers.next_deadline_ms()
        if deadline_ms != self._told_deadline_ms:
            self._told_deadline_ms = deadline_ms
            self._shard.effects.append(Schedule(deadline_ms))
        effects, self._shard.effects = self._shard.effects, []
        return effects

    def _call(self, call: Call) -> None:
        shard, token, request, context = self._shard, call.token, call.request, call.context
        if token in shard.open_tokens:
            raise UsageError(f"the token {token!r} belongs to a request that is still open")
        shard.open_tokens[token] = request
        if self._phase is not Code.NONE:
            shard.reply(token, refusal(request, self._phase))
            return
        match request:
            case requests.JoinGroupRequest():
                self._enter(request.group_id, lambda at: join_group(at, token, request, context))
            case requests.SyncGroupRequest():
                self._enter(request.group_id, lambda at: sync_group(at, token, request))
            case requests.HeartbeatRequest():
                self._enter(request.group_id, lambda at: heartbeat(at, token, request))
            case requests.LeaveGroupRequest():
                self._enter(request.group_id, lambda at: leave_group(at, token, request))
            case requests.ConsumerGroupHeartbeatRequest():
                self._enter(request.group_id, lambda at: consumer_group_heartbeat(at, token, request, context))
            case requests.OffsetCommitRequest():
                self._enter(request.group_id, lambda at: committed.commit_offsets(at, token, request, context))
            case requests.TxnOffsetCommitRequest():
                shard.reply(token, refusal(request, Code.UNSUPPORTED_VERSION))
            case requests.OffsetFetchRequest():
                # A client that wants stable offsets must not be told those from before a commit on its way.
                self._enter(
                    request.group_id,
                    lambda at: committed.fetch_offsets(at, token, request),
                    quiet=request.require_stable,
                )
            case requests.OffsetDeleteRequest():
                self._enter(request.group_id, lambda at: committed.delete_offsets(at, token, request), quiet=True)
            case requests.DeleteGroupsRequest():
                self._delete_groups(token, request)
            case requests.ListGroupsRequest():
                describe.list_groups(shard, token, request)
            case requests.DescribeGroupsRequest():
                describe.describe_groups(shard, token, request, context)
            case requests.ConsumerGroupDescribeRequest():
                describe.describe_consumer_groups(shard, token, request)

    def _delete_groups(self, token: object, request: requests.DeleteGroupsRequest) -> None:
        """Each group in its own turn; the answer comes when the last one is through."""
        names = list(dict.fromkeys(request.groups_names))
        results: dict[str, responses.DeletableGroupResult] = {}

        def then(at: Shard, result: responses.DeletableGroupResult) -> None:
            results[result.group_id] = result
            if len(results) == len(names):
                at.reply(token, responses.DeleteGroupsResponse(tuple(results[name] for name in names)))

        if not names:
            self._shard.reply(token, responses.DeleteGroupsResponse())
        for name in names:
            self._enter(name, partial(committed.delete_group, group_id=name, then=then), quiet=True)

    # -- order ----------------------------------------------------------------------------------------------

    def _enter(self, group_id: str, run: Action, *, quiet: bool = False) -> None:
        """Run something for a group now, or when what is on its way there is over."""
        lane = self._lanes.setdefault(group_id, _Lane())
        if lane.waiting or not lane.takes(quiet):
            lane.waiting.append(_Waiting(quiet, run))
        else:
            self._run(run)
        if lane.is_idle:
            del self._lanes[group_id]

    def _run(self, run: Action) -> None:
        run(self._shard)
        asked, self._shard.asked = self._shard.asked, []
        for pending in asked:
            lane = self._lanes.setdefault(pending.group_id, _Lane())
            if pending.shared:
                lane.commits += 1
            else:
                lane.exclusive = True

    def _appended(self, append_id: int, error: Code, base_offset: int) -> None:
        if self._phase is Code.NOT_COORDINATOR:
            return  # whoever waited for it was sent away
        pending = self._shard.appends.pop(append_id, None)
        if pending is None:
            raise UsageError(f"append {append_id} was not asked for, or reported before")
        lane = self._lanes[pending.group_id]
        if pending.shared:
            lane.commits -= 1
        else:
            lane.exclusive = False
        self._run(lambda at: pending.then(at, error, base_offset))
        while lane.waiting and lane.takes(lane.waiting[0].needs_quiet):
            self._run(lane.waiting.popleft().run)
        if lane.is_idle:
            self._lanes.pop(pending.group_id, None)

    # -- the rest -------------------------------------------------------------------------------------------

    def _schedule_retention(self) -> None:
        def expire(at: Shard) -> None:
            for group_id in [*at.groups]:
                self._enter(group_id, partial(committed.expire_group, group_id=group_id), quiet=True)
            self._schedule_retention()

        self._shard.schedule(_RETENTION, self._shard.settings.offsets_retention_check_interval_ms, expire)

    def _unload(self) -> None:
        """Send everyone away, whatever they wait for, and forget the rest: the next coordinator has the log."""
        shard, self._phase = self._shard, Code.NOT_COORDINATOR
        for token, request in list(shard.open_tokens.items()):
            shard.reply(token, refusal(request, Code.NOT_COORDINATOR))
        for group in shard.groups.values():
            if isinstance(group, ClassicGroup):
                group.move_to(State.DEAD, shard.now_ms)
        shard.timers.clear()
        shard.appends.clear()
        self._lanes.clear()


def _fire(timer: Timer[Action], shard: Shard) -> None:
    """Run a timer that was due, unless it was cancelled or set again while it waited for its turn."""
    if shard.timers.take(timer):
        timer.action(shard)
