/* CRC-32C (Castagnoli), the checksum of Kafka's record batches. `ks_crc32c(0, data, n)` is the finished checksum and
 * may be continued by passing it on. */
#ifndef KSTORE_CRC32C_H
#define KSTORE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t ks_crc32c(uint32_t crc, const void *data, size_t n);

#endif
