"""Outcomes of the native inner functions; see status.h."""

cdef extern from "status.h":
    ctypedef enum ks_status:
        KS_OK
        KS_SHORT
        KS_BAD_LENGTH
        KS_BAD_MAGIC
        KS_BAD_CRC
        KS_BAD_HEADER
        KS_BAD_RECORD
        KS_BAD_COUNT
        KS_BAD_VARINT
        KS_COMPRESSED
        KS_NO_ROOM
        KS_ZEROS
        KS_NO_MEMORY
