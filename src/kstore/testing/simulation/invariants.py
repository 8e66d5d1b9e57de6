"""The promises that the checkers hold a run to, by their numbers, in a sentence each.

Owns the words. Where each is verified stands in the header of its checker; docs/SIMULATOR.md lists both. Called by the
command, which says what a broken one had promised.
"""

from __future__ import annotations

PROMISES: dict[str, str] = {
    "I1": "what acks=all acknowledged is not lost while one member of the ISR, or an eligible replica, survives",
    "I2": "with fsync before the acknowledgement that holds when all lose power together",
    "I3": "below a leader's high watermark all members of the true ISR hold the same",
    "I4": "two leaders never share an epoch; a leader is in its ISR, and the ISR among the replicas",
    "I5": "replicas are byte-identical up to the smaller high watermark",
    "I6": "an offset in an epoch never has two values, and nothing stands there that no leader wrote",
    "I7": "log start <= LSO <= high watermark <= log end, and neither mark falls on a live replica",
    "I8": "what a consumer was told of the end of a log never goes back",
    "I9": "no truncation below the high watermark, but by an unclean election that was asked for",
    "I10": "epochs and their starts rise, and name for every batch in the log the epoch that it carries",
    "I11": "a follower appends nothing from an epoch above the one that it follows",
    "I12": "an idempotent producer's batches are there once and in order",
    "I15": "a fenced epoch changes nothing any more, and no epoch falls",
    "I17": "consumers see no gap, no change of what they saw, and in the end all of it",
    "I18": "a second recovery changes nothing, and a healthy disk opens",
    "I21": "acknowledged means fsynced, on enough replicas; recovery keeps what was sure",
    "I22": "no failed write or fsync is followed by an acknowledgement that needed it",
    "I23": "ten seconds after the last fault every partition commits again; within a minute all is at rest and whole",
    "I26": "consumers get the bytes that producers sent, and no others",
    "progress": "what a leader knows of a follower is true, and only grows within its life",
    "halt": "no replica finds itself broken, and stops",
    "error": "no exception leaves kstore that its documentation does not name",
}
"""By number; `progress`, `halt` and `error` are the simulator's own."""
