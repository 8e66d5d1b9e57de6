"""What must hold of one replica by itself: I7, I9, I10, I11, and that machine and log agree.

Verified after every step: the machine's offsets and epochs are the log's own; log start <= LSO <= HW <= log end; HW and
log start never fall in one life but after an unclean election or a start over; no truncation below the HW; the lineage
names, for every batch in the log, the epoch that it carries; a follower appends nothing from an epoch above the one it
follows.
Not verified here: anything that needs a second replica.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kstore import lineage
from kstore.replication.leading import Leader
from kstore.testing.simulation.checkers.base import Checker

if TYPE_CHECKING:
    from kstore.testing.simulation.copies import Step
    from kstore.testing.simulation.node import Node


class LocalRules(Checker):
    """See the module."""

    def on_step(self, node: Node, step: Step) -> None:
        """A replica has taken an event."""
        copy, state = step.copy, step.state
        local, view = state.local, copy.view
        assert view is not None
        if (local.log_start_offset, local.log_end_offset, local.high_watermark) != (
            view.log_start_offset,
            view.log_end_offset,
            view.high_watermark,
        ):
            self.broken("I7", f"{copy}: the machine believes {local}, the log has HW {view.high_watermark}")
        noted = node.replicas[copy.key].partition.log.derived.epochs.entries
        if local.lineage != noted:
            self.broken("I10", f"{copy}: the machine knows the epochs {local.lineage}, the log has noted {noted}")
        if not view.log_start_offset <= view.last_stable_offset <= view.high_watermark <= view.log_end_offset:
            self.broken("I7", f"{copy}: LSO {view.last_stable_offset}, HW {view.high_watermark}")
        self._check_marks(step)
        if step.appended:
            self._check_appended(step)

    def _check_marks(self, step: Step) -> None:
        copy = step.copy
        leads = isinstance(step.state, Leader) and isinstance(step.state_before, Leader)
        if leads and copy.log_end_offset < step.end_before:
            self.broken("I6", f"{copy}: a leader's log got shorter, it ended at {step.end_before}")
        if copy.log_end_offset < step.high_watermark_before and not self._may_lose(step):
            self.broken("I9", f"{copy}: cut to {copy.log_end_offset}, below the HW {step.high_watermark_before}")
        if copy.high_watermark < step.high_watermark_before and not self._may_lose(step):
            self.broken("I7", f"{copy}: the HW fell from {step.high_watermark_before} to {copy.high_watermark}")
        if copy.log_start_offset < step.log_start_before and not self._may_lose(step):
            self.broken("I7", f"{copy}: the log start fell from {step.log_start_before}")

    def _may_lose(self, step: Step) -> bool:
        """Whether an unclean election lies between what this replica last followed and what it follows now."""
        before = step.state if step.state_before is None else step.state_before
        return step.state.assignment.unclean_epoch > before.local.latest_epoch

    def _check_appended(self, step: Step) -> None:
        copy, state = step.copy, step.state
        entries = state.local.lineage
        end = step.end_before
        for held in step.appended:
            begins_inside = held.base_offset < end < held.next_offset and end == copy.log_start_offset
            if held.base_offset != end and not begins_inside:
                self.broken("I6", f"{copy}: a batch at {held.base_offset} behind the end {end}")
            end = held.next_offset
            first = max(held.base_offset, copy.log_start_offset)
            if lineage.epoch_for_offset(entries, first) != held.epoch:
                self.broken("I10", f"{copy}: {held} is not what the lineage says: {entries}")
            if held.epoch > state.assignment.leader_epoch:
                self.broken("I11", f"{copy}: {held} is from an epoch above {state.assignment.leader_epoch}")
        stored = copy.view is not None and copy.state is state and entries
        if stored and copy.batches and lineage.latest_epoch(entries) < copy.batches[-1].epoch:
            self.broken("I10", f"{copy}: the lineage ends with {entries[-1]}, the log with {copy.batches[-1]}")
