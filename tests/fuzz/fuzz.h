/* What every harness shares: a copy of the input that ends where it ends, so that a read behind it is caught. */
#ifndef KSTORE_FUZZ_H
#define KSTORE_FUZZ_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(condition) \
    do {                \
        if (!(condition)) abort(); \
    } while (0)

static inline unsigned char *exact_copy(const uint8_t *data, size_t size)
{
    unsigned char *copy = malloc(size ? size : 1);
    if (copy == NULL) abort();
    if (size) memcpy(copy, data, size);
    return copy;
}

#endif
