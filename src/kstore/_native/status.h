/* Outcomes of the native inner functions. A function that reads bytes from disk or network returns one of these and
 * never raises; the exception is made once, at the Python edge, from the status and the position. */
#ifndef KSTORE_STATUS_H
#define KSTORE_STATUS_H

typedef enum ks_status {
    KS_OK = 0,
    KS_SHORT = 1,          /* the bytes end before what they announce: a torn tail, or more is still to come */
    KS_BAD_LENGTH = 2,     /* a length field that no batch or record can have */
    KS_BAD_MAGIC = 3,      /* not a batch of magic 2 */
    KS_BAD_CRC = 4,        /* the checksum does not fit the bytes */
    KS_BAD_HEADER = 5,     /* header fields that contradict each other */
    KS_BAD_RECORD = 6,     /* a record that does not end where it says, or fields that do not fit into it */
    KS_BAD_COUNT = 7,      /* more or fewer records than the header announces */
    KS_BAD_VARINT = 8,     /* longer than its type allows */
    KS_COMPRESSED = 9,     /* the records are compressed: unpack them first */
    KS_NO_ROOM = 10,       /* the caller's output array is full */
    KS_ZEROS = 11,         /* a run of zero bytes where a batch should start: preallocated, never written */
    KS_NO_MEMORY = 12
} ks_status;

#endif
