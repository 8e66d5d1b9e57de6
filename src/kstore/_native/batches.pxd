"""Batches: what a read returns; see batches.pyx for the rules."""

from libc.stdint cimport int64_t

from kstore._native.batch cimport ks_batch_header


cdef class Batches:                      # final; immutable
    cdef readonly object buffer          # read-only memoryview over whole batches
    cdef readonly str file               # what errors call the source; "" for bytes of a caller
    cdef readonly long long position     # of the first batch in it
    cdef readonly tuple aborted          # (producer id, first offset, last offset) of transactions to hide
    cdef long long end_offset            # -1: not known yet
    cdef long long start_offset          # where the reader asked to begin
    cdef bint dense                      # a hole between the batches is damage
    cdef long long count                 # of visible records; -1: not known yet

    cdef bint hides(self, const ks_batch_header* header, bint control) except -1


# As the constructor, for native callers; `buffer` is a read-only memoryview of whole batches already, `start_offset`
# what the reader asked for, `next_offset` the offset behind them (-1: read it off the last header when it is asked
# for).
cdef Batches make_batches(object buffer, long long start_offset, long long next_offset, str file,
                          long long position, tuple aborted, bint dense)
