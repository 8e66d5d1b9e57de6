/* The walk and the scan over a log file: they always end, move forward only and stay inside. */
#include "fuzz.h"
#include "scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 1 << 14) return 0;
    unsigned char *copy = exact_copy(data + 1, size - 1);
    const int64_t end = (int64_t)size - 1;

    ks_scan scan = {.data = copy, .end = end, .last_offset_max = INT32_MAX, .leader_epoch = -1, .dense = *data & 1,
                    .effort_left = KS_RESYNC_EFFORT * end};
    while (scan.position < scan.end) {
        int64_t before = scan.position;
        if (ks_scan_check(&scan) == KS_OK) {
            int32_t type, epoch;
            MUST(scan.header.size_bytes <= end - scan.position);
            ks_control_record(copy + scan.position + KS_BATCH_HEADER_BYTES,
                              copy + scan.position + scan.header.size_bytes, &type, &epoch);
            ks_scan_step(&scan);
        } else {
            ks_scan_resync(&scan);
        }
        MUST(scan.position > before && scan.position <= end);
    }
    ks_walk walk = {.window = copy, .window_end = end, .end = end};
    for (;;) {
        int64_t before = walk.position;
        if (ks_walk_peek(&walk) != KS_WALK_FOUND) break;
        ks_walk_step(&walk);
        MUST(walk.position > before && walk.position <= end);
    }
    free(copy);
    return 0;
}
