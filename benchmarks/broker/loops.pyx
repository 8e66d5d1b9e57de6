# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Both ends of a socket in C, so that neither is what limits a broker: send frames, count answers, take batches.

Built by `benchmarks.support.native`. File descriptors are of blocking sockets; every loop runs without the GIL, so that
connections run on threads. A failing call ends a loop with an OSError; so does a peer that closes.
"""

import os

from libc.errno cimport ECONNRESET, EPROTO, errno
from libc.stdint cimport int16_t, int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

cdef extern from "<sys/types.h>" nogil:
    ctypedef long ssize_t
    ctypedef long off_t

cdef extern from "<sys/socket.h>" nogil:
    ssize_t recv(int fd, void* buffer, size_t size, int flags)
    ssize_t send(int fd, const void* buffer, size_t size, int flags)
    int MSG_MORE, MSG_NOSIGNAL

cdef extern from "<unistd.h>" nogil:
    ssize_t pwrite(int file, const void* data, size_t size, off_t position)
    int ftruncate(int file, off_t size)

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void* iov_base
        size_t iov_len
    ssize_t writev(int fd, const iovec* pieces, int count)

cdef extern from "<sys/sendfile.h>" nogil:
    ssize_t sendfile(int fd, int file, off_t* offset, size_t count)

cdef extern from *:
    uint16_t __builtin_bswap16(uint16_t x) nogil
    uint32_t __builtin_bswap32(uint32_t x) nogil
    uint64_t __builtin_bswap64(uint64_t x) nogil

cdef enum:
    RECEIVE_BYTES = 1 << 18
    PIECES_MAX = 64
    BATCH_OVERHEAD = 12
    BATCH_LAST_DELTA_AT = 23
    BATCH_HEADER = 61


cdef inline int16_t int16_at(const unsigned char* p) noexcept nogil:
    cdef uint16_t raw
    memcpy(&raw, p, 2)
    return <int16_t>__builtin_bswap16(raw)


cdef inline int32_t int32_at(const unsigned char* p) noexcept nogil:
    cdef uint32_t raw
    memcpy(&raw, p, 4)
    return <int32_t>__builtin_bswap32(raw)


cdef inline int64_t int64_at(const unsigned char* p) noexcept nogil:
    cdef uint64_t raw
    memcpy(&raw, p, 8)
    return <int64_t>__builtin_bswap64(raw)


cdef int failed(ssize_t result) noexcept nogil:
    """The error of a call that returned that: an errno, or ECONNRESET for the end of the stream."""
    return errno if result < 0 else ECONNRESET


cdef int send_copies(int fd, const unsigned char* frame, size_t size, int count) noexcept nogil:
    """Send the frame `count` times, at most PIECES_MAX; 0 or an errno."""
    cdef iovec pieces[PIECES_MAX]
    cdef size_t sent = 0, skip
    cdef ssize_t result
    cdef int i, first
    while sent < size * count:
        first = <int>(sent // size)
        skip = sent % size
        for i in range(first, count):
            pieces[i - first].iov_base = <void*>frame
            pieces[i - first].iov_len = size
        pieces[0].iov_base = <void*>(frame + skip)
        pieces[0].iov_len = size - skip
        result = writev(fd, pieces, count - first)
        if result <= 0:
            return failed(result)
        sent += result
    return 0


cdef int send_all(int fd, const unsigned char* data, size_t size, int flags) noexcept nogil:
    cdef ssize_t result
    while size:
        result = send(fd, data, size, flags | MSG_NOSIGNAL)
        if result <= 0:
            return failed(result)
        data += result
        size -= result
    return 0


# -- the client ----------------------------------------------------------------------------------------------------


def produce(int fd, const unsigned char[::1] frame, long requests, int depth, int error_at):
    """Send the frame so many times, at most `depth` of them unanswered; 0: no answers come, and none are awaited.

    `error_at` is where an answer has its error code, counted behind its size. Raises RuntimeError for a code.
    """
    cdef unsigned char answers[1 << 14]
    cdef size_t have = 0, used, size = frame.shape[0]
    cdef long sent = 0, answered = 0
    cdef ssize_t result
    cdef int error = 0, code = 0, count
    if depth > PIECES_MAX:
        raise ValueError(f"a depth of {depth}: at most {PIECES_MAX}")
    with nogil:
        while sent < requests or (depth and answered < requests):
            count = <int>min(requests - sent, (answered + depth - sent) if depth else PIECES_MAX)
            if count > 0:
                error = send_copies(fd, &frame[0], size, count)
                if error:
                    break
                sent += count
                if not depth:
                    continue
            result = recv(fd, answers + have, sizeof(answers) - have, 0)
            if result <= 0:
                error = failed(result)
                break
            have += result
            used = 0
            while have - used >= 4 and have - used >= 4 + <size_t>int32_at(answers + used):
                code = int16_at(answers + used + 4 + error_at)
                if code:
                    break
                answered += 1
                used += 4 + int32_at(answers + used)
            if code:
                break
            have -= used
            memmove(answers, answers + used, have)
    if error:
        raise OSError(error, os.strerror(error))
    if code:
        raise RuntimeError(f"produce was answered with error {code}")


def fetch(int fd, unsigned char[::1] request, int offset_at, long long offset, long long end, int records_at,
          unsigned char[::1] buffer):
    """Fetch from `offset` until `end` is reached, one request at a time; returns the bytes of the batches.

    `request` is changed at `offset_at`. Each answer goes into `buffer`; its records' size stands at `records_at`
    behind the answer's size. Only the headers of its batches are looked at, as far as it takes to go on.
    """
    cdef unsigned char* answer = &buffer[0]
    cdef unsigned char* at
    cdef unsigned char* stop
    cdef size_t have, size
    cdef ssize_t result
    cdef uint64_t raw
    cdef long long got = 0, before
    cdef int error = 0
    with nogil:
        while offset < end and not error:
            raw = __builtin_bswap64(<uint64_t>offset)
            memcpy(&request[offset_at], &raw, 8)
            error = send_all(fd, &request[0], request.shape[0], 0)
            have = 0
            size = 4
            while have < size and not error:
                result = recv(fd, answer + have, buffer.shape[0] - have, 0)
                if result <= 0:
                    error = failed(result)
                    break
                have += result
                if have >= 4:
                    size = 4 + <size_t>int32_at(answer)
                    if size > <size_t>buffer.shape[0]:
                        error = EPROTO
            if error:
                break
            before = offset
            at = answer + 4 + records_at + 4
            stop = at + int32_at(at - 4)
            got += stop - at
            while stop - at >= BATCH_HEADER and at + BATCH_OVERHEAD + int32_at(at + 8) <= stop:
                offset = int64_at(at) + int32_at(at + BATCH_LAST_DELTA_AT) + 1
                at += BATCH_OVERHEAD + int32_at(at + 8)
            if offset == before:
                error = EPROTO
    if error:
        raise OSError(error, f"fetch at {offset} of {end}: {os.strerror(error)}")
    return got


# -- servers that do nothing else ----------------------------------------------------------------------------------


def acknowledge(int fd, const unsigned char[::1] answers, int answer_bytes, int file):
    """Receive frames until the client closes, and answer each: `answers` holds PIECES_MAX answers. 0 bytes: none.

    What comes is written to the end of `file`, first of all; -1 for none. It is emptied when the client has gone.
    """
    cdef unsigned char* buffer = <unsigned char*>malloc(RECEIVE_BYTES)
    cdef size_t have = 0, rest = 0, used
    cdef ssize_t result
    cdef int error = 0, count
    cdef off_t position = 0
    with nogil:
        while not error:
            result = recv(fd, buffer + have, RECEIVE_BYTES - have, 0)
            if result <= 0:
                break
            if file >= 0:
                position += pwrite(file, buffer + have, result, position)
            have += result
            used = 0
            count = 0
            while True:
                if rest:                                    # bytes of a frame that are still to come
                    if have - used < rest:
                        rest -= have - used
                        used = have
                        break
                    used += rest
                    rest = 0
                    count += 1
                    if count == PIECES_MAX:
                        error = send_all(fd, &answers[0], count * answer_bytes, 0)
                        count = 0
                if have - used < 4:
                    break
                rest = int32_at(buffer + used)
                used += 4
            have -= used
            memmove(buffer, buffer + used, have)
            if count and not error:
                error = send_all(fd, &answers[0], count * answer_bytes, 0)
        if file >= 0:
            ftruncate(file, 0)
    free(buffer)


def send_file(int fd, int file, const unsigned char[::1] head, long chunk_bytes, long file_bytes, int request_bytes):
    """Answer each request, all of the same size, with `head` and the next chunk of the file, by sendfile(2)."""
    cdef unsigned char request[4096]
    cdef size_t have = 0, left
    cdef ssize_t result
    cdef off_t position = 0
    cdef int error = 0
    if request_bytes > <int>sizeof(request):
        raise ValueError(f"requests of {request_bytes} bytes")
    with nogil:
        while not error:
            result = recv(fd, request + have, request_bytes - have, 0)
            if result <= 0:
                break
            have += result
            if have < <size_t>request_bytes:
                continue
            have = 0
            error = send_all(fd, &head[0], head.shape[0], MSG_MORE)
            left = chunk_bytes
            while left and not error:
                result = sendfile(fd, file, &position, left)
                if result <= 0:
                    error = failed(result)
                else:
                    left -= result
            if position + chunk_bytes > file_bytes:
                position = 0
