/* SCAN: walks over the batches of a log file, by header alone or with every checksum.
 *
 * Owns the rules by which one batch may follow another in a file, the jump over quarantined ranges and the search for
 * the next good batch behind damage. Knows bytes and positions, no file and no Python object; `segment` fetches the
 * bytes and makes the exceptions. Everything here may meet hostile bytes.
 *
 *   1. A pointer is followed only inside [window_position, window_end).
 *   2. A walk always moves forward, so it ends after at most end / 61 steps.
 */
#ifndef KSTORE_SCAN_H
#define KSTORE_SCAN_H

#include <stddef.h>
#include <stdint.h>

#include "batch.h"
#include "status.h"

/* A stretch of a log file: bytes [position, end_position), offsets [first_offset, next_offset). */
typedef struct ks_range {
    int64_t position, end_position;
    int64_t first_offset, next_offset;
} ks_range;

typedef enum ks_walk_result {
    KS_WALK_FOUND = 0,      /* `header` is the batch at `position` */
    KS_WALK_END = 1,        /* `position` reached `end` */
    KS_WALK_MORE = 2,       /* the header at `position` is not inside the window */
    KS_WALK_BAD = 3,        /* no batch can stand at `position`: see `status` */
    KS_WALK_QUARANTINED = 4 /* the offset looked for lies in the range `bad` */
} ks_walk_result;

/* By header only: no record and no checksum is read. */
typedef struct ks_walk {
    const unsigned char *window; /* the log's bytes [window_position, window_end) */
    int64_t window_position, window_end;
    int64_t end;         /* where the readable log ends: the end of a batch */
    int64_t position;    /* of the header that comes next */
    int64_t last_position; /* of the batch stepped over last */
    int64_t next_offset; /* the lowest base offset that it may have */
    int64_t exact_offset; /* the only base offset that it may have; -1: any from next_offset on */
    int32_t dense;       /* never compacted: offsets have no holes */
    const ks_range *bad; /* quarantined ranges, sorted, disjoint: jumped over */
    size_t bad_count;
    ks_status status;
    ks_batch_header header;
} ks_walk;

/* Looks at the batch at `position`, behind a quarantined range if one begins there. Does not step over it. */
ks_walk_result ks_walk_peek(ks_walk *w);

/* Steps over the batch that a peek found. */
static inline void ks_walk_step(ks_walk *w)
{
    w->last_position = w->position;
    w->position += w->header.size_bytes;
    w->next_offset = w->header.last_offset + 1;
    w->exact_offset = w->dense ? w->next_offset : -1;
}

/* Walks to the batch that covers `offset`, or to the first one behind it. */
ks_walk_result ks_walk_to_offset(ks_walk *w, int64_t offset);

/* Walks to the first batch whose maximum timestamp is at least `timestamp`. */
ks_walk_result ks_walk_to_timestamp(ks_walk *w, int64_t timestamp);

/* Steps over every batch that ends at or before `stop`; `position` is then where the next one begins. The batch before
 * must not claim offsets that the batch behind `position` has: the base offset stands outside the checksum. */
ks_walk_result ks_walk_to_position(ks_walk *w, int64_t stop);

/* With every checksum: recovery, verification. The bytes [0, end) are all at hand. */
typedef struct ks_scan {
    const unsigned char *data;
    int64_t end;
    int64_t position;
    int64_t next_offset;     /* the lowest base offset of the next batch; the only one when dense */
    int64_t last_offset_max; /* the highest offset that the file may hold */
    int32_t leader_epoch;    /* of the batch before: epochs never go down */
    int32_t dense;           /* never compacted: offsets have no gaps */
    int64_t effort_left;     /* bytes that searches behind damage may still checksum: KS_RESYNC_EFFORT * end at first */
    ks_batch_header header;  /* of the batch at `position`, after KS_OK */
} ks_scan;

/* The highest offset that a segment may hold: its index has them as int32 above its base. */
static inline int64_t ks_last_offset_max(int64_t base_offset)
{
    return base_offset < INT64_MAX - INT32_MAX ? base_offset + INT32_MAX : INT64_MAX - 1;
}

/* Checks the batch at `position` from its first to its last byte. */
ks_status ks_scan_check(ks_scan *s);

static inline void ks_scan_step(ks_scan *s)
{
    s->position += s->header.size_bytes;
    s->next_offset = s->header.last_offset + 1;
    s->leader_epoch = s->header.leader_epoch;
}

/* Moves `position` from a bad batch to the next good one, or to `end`; `header` is then that batch's. Hostile bytes can
 * look like a batch at nearly every position, so over a whole scan the searches checksum no more than KS_RESYNC_EFFORT
 * times the file (and one batch); what lies behind counts as bad. */
enum { KS_RESYNC_EFFORT = 16 };
void ks_scan_resync(ks_scan *s);

/* The type and coordinator epoch of a control batch's first record; -1 for what it does not hold. */
void ks_control_record(const unsigned char *records, const unsigned char *end, int32_t *type,
                       int32_t *coordinator_epoch);

/* What a status means where a batch should stand, for messages. */
const char *ks_scan_reason(ks_status status);

#endif
