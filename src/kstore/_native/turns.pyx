# cython: language_level=3, boundscheck=False, wraparound=False
"""TURNS: threads that do one thing at a time, and let others do theirs while they move bytes.

Owns the lock that event loops share, and sending without it. It must not know who shares it, nor what is sent. Called
by the broker's loops and connections; `stream` receives without it.

Who waits for the lock does not hold the GIL, and asks for the GIL when it has the lock: as whoever works has both, they
change hands together. It waits a moment awake: the turn of another is often shorter than being woken takes.

Invariants
  1. Between letting go of the lock and having it again a call touches nothing of Python but bytes that it holds.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.errno cimport errno
from libc.string cimport memset

from kstore.errors import UsageError

cdef extern from "<sys/types.h>" nogil:
    ctypedef long ssize_t

cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutexattr_t:
        pass
    int PTHREAD_MUTEX_ERRORCHECK
    int pthread_mutexattr_init(pthread_mutexattr_t* attributes)
    int pthread_mutexattr_settype(pthread_mutexattr_t* attributes, int kind)
    int pthread_mutexattr_destroy(pthread_mutexattr_t* attributes)
    int pthread_mutex_init(pthread_mutex_t* mutex, const pthread_mutexattr_t* attributes)
    int pthread_mutex_destroy(pthread_mutex_t* mutex)
    int pthread_mutex_lock(pthread_mutex_t* mutex)
    int pthread_mutex_trylock(pthread_mutex_t* mutex)
    int pthread_mutex_unlock(pthread_mutex_t* mutex)

cdef extern from "<sys/socket.h>" nogil:
    enum:
        MSG_NOSIGNAL
    struct iovec:
        void* iov_base
        size_t iov_len
    struct msghdr:
        iovec* msg_iov
        size_t msg_iovlen
    ssize_t sendmsg(int fd, const msghdr* message, int flags)

cdef extern from *:
    """
    #if defined(__x86_64__) || defined(__i386__)
    #define ks_pause() __builtin_ia32_pause()
    #elif defined(__aarch64__)
    #define ks_pause() __asm__ __volatile__("yield")
    #else
    #define ks_pause() ((void)0)
    #endif
    """
    void ks_pause() nogil

cdef enum:
    TRIES = 200                         # to have the lock without sleep, some ten microseconds in all
    PAUSES = 4
    PIECES_MAX = 64

SEND_PIECES_MAX = PIECES_MAX
"""Most buffers of one `send_away`."""


@cython.final
cdef class Lock:
    """A lock for threads of this process: not reentrant, and to be released by the thread that acquired it."""

    def __cinit__(self):
        cdef pthread_mutexattr_t attributes
        pthread_mutexattr_init(&attributes)
        pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK)
        pthread_mutex_init(&self.mutex, &attributes)
        pthread_mutexattr_destroy(&attributes)

    def __dealloc__(self):
        pthread_mutex_destroy(&self.mutex)

    cdef bint take(self) noexcept nogil:
        """Have it, sooner or later; False where this thread has it already."""
        cdef int _i, _j
        for _i in range(TRIES):
            if pthread_mutex_trylock(&self.mutex) == 0:
                return True
            for _j in range(PAUSES):
                ks_pause()
        return pthread_mutex_lock(&self.mutex) == 0

    def acquire(self):
        """Have it, sooner or later. Raises `UsageError` where this thread has it already."""
        cdef bint taken = pthread_mutex_trylock(&self.mutex) == 0
        if not taken:
            with nogil:
                taken = self.take()
            if not taken:
                raise UsageError("this thread holds the lock already")

    def release(self):
        """Let the next one have it. Raises `UsageError` where this thread does not have it."""
        if pthread_mutex_unlock(&self.mutex) != 0:
            raise UsageError("this thread does not hold the lock")

    def __enter__(self):
        self.acquire()

    def __exit__(self, kind, error, traceback):
        self.release()


def send_away(Lock lock not None, int fd, list pieces not None):
    """`socket.sendmsg` of at most `SEND_PIECES_MAX` buffers, with the lock let go of meanwhile; returns how many bytes
    went. Raises `OSError`, `BlockingIOError` among them, with the lock held again; `UsageError` where it was not held.
    """
    cdef Py_buffer[PIECES_MAX] views
    cdef iovec[PIECES_MAX] places
    cdef msghdr message
    cdef int count = 0, error, i
    cdef ssize_t sent
    cdef Py_buffer* view
    try:
        for piece in pieces[:PIECES_MAX]:
            view = &views[count]
            PyObject_GetBuffer(piece, view, PyBUF_SIMPLE)
            places[count].iov_base = view.buf
            places[count].iov_len = view.len
            count += 1
        memset(&message, 0, sizeof(msghdr))
        message.msg_iov = places
        message.msg_iovlen = count
        lock.release()
        with nogil:
            sent = sendmsg(fd, &message, MSG_NOSIGNAL)
            error = errno
            lock.take()
    finally:
        for i in range(count):
            PyBuffer_Release(&views[i])
    if sent < 0:
        raise OSError(error, "sending failed")
    return sent
