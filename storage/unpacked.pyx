# cython: language_level=3
"""Images whose bytes are dear, such as files inside a squashfs: kept in a store as they are read.

The store is a file that nobody else has, so that pumps send from it as from any plain file, by sendfile and without a
copy, and the kernel may write it out where it needs the memory. What the base has in a file as it is stays there.
Measured over HTTP, copying a decompressed file to the socket got three to four fifths of what a plain one gets.
"""
from libc.errno cimport EAGAIN, EIO, ENOMEM, EOPNOTSUPP
from libc.stdint cimport uint64_t
from libc.stdlib cimport calloc, free, malloc

from storage.errors import StorageError
from storage.image cimport Image, Place

cdef extern from *:
    """
    static inline unsigned char piece_state(const unsigned char *piece) {
        return __atomic_load_n(piece, __ATOMIC_ACQUIRE);
    }
    static inline void set_piece(unsigned char *piece, unsigned char state) {
        __atomic_store_n(piece, state, __ATOMIC_RELEASE);
    }
    static inline int claim_piece(unsigned char *piece, unsigned char empty, unsigned char filling) {
        return __atomic_compare_exchange_n(piece, &empty, filling, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    """
    unsigned char piece_state(const unsigned char *piece) nogil
    void set_piece(unsigned char *piece, unsigned char state) nogil
    bint claim_piece(unsigned char *piece, unsigned char empty, unsigned char filling) nogil

cdef enum:
    PIECE = 128 << 10  # bytes: mksquashfs's usual block, and what pumps read at once

cdef enum State:
    EMPTY
    FILLING  # by one thread; others meanwhile read the base
    KEPT


cdef uint64_t piece_end(Image image, uint64_t offset) noexcept nogil:
    return min(image.size, (offset // PIECE + 1) * PIECE)


cdef class UnpackedImage(Image):
    """A read-only layer over an image, as large as that."""

    def __cinit__(self, Image base not None, Image store not None):
        if not store.writable or store.size != base.size:
            raise ValueError(f"a store has to be writable, and of {base.size} bytes")
        self.base = base
        self.store = store
        self.size = base.size
        self.version = base.version
        self.piece_count = (base.size + PIECE - 1) // PIECE
        self.pieces = <unsigned char *> calloc(self.piece_count + 1, 1)
        if self.pieces == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.pieces)

    @property
    def kept(self):
        cdef uint64_t number, found = 0
        for number in range(self.piece_count):
            if piece_state(&self.pieces[number]) == KEPT:
                found += piece_end(self, number * PIECE) - number * PIECE
        return found

    cdef int fill(self, uint64_t number) noexcept nogil:
        # A piece that this thread has claimed; -EOPNOTSUPP where the store has no room for it.
        cdef uint64_t start = number * PIECE
        cdef size_t length = piece_end(self, start) - start
        cdef ssize_t got = -ENOMEM
        cdef char *bytes = <char *> malloc(length)
        cdef State state = EMPTY
        if bytes != NULL:
            got = self.base.read(bytes, length, start)
        if got >= 0 and <size_t> got < length:
            got = -EIO
        if got >= 0 and self.store.write(bytes, length, start) != <ssize_t> length:
            got = -EOPNOTSUPP
        if got >= 0:
            state = KEPT
        free(bytes)
        set_piece(&self.pieces[number], state)
        return 0 if got >= 0 else <int> got

    cdef ssize_t read_piece(self, char *into, size_t length, uint64_t offset) noexcept nogil:
        # A part of one piece.
        cdef Place unused
        cdef uint64_t number = offset // PIECE
        cdef int failed = -EOPNOTSUPP
        if piece_state(&self.pieces[number]) != KEPT:
            # What a file has already is not kept once more.
            if self.base.place(offset, length, &unused) == -EOPNOTSUPP and claim_piece(
                &self.pieces[number], EMPTY, FILLING
            ):
                failed = self.fill(number)
            if failed == -EOPNOTSUPP:
                return self.base.read(into, length, offset)
            if failed < 0:
                return failed
        return self.store.read(into, length, offset)

    cdef ssize_t read(self, char *into, size_t length, uint64_t offset) noexcept nogil:
        cdef size_t done = 0, part
        cdef ssize_t got
        while done < length and offset + done < self.size:
            part = min(length - done, <size_t> (piece_end(self, offset + done) - offset - done))
            got = self.read_piece(into + done, part, offset + done)
            if got < 0:
                return got
            done += got
            if <size_t> got < part:
                break
        return done

    cdef bint is_all_kept(self, uint64_t offset, uint64_t length) noexcept nogil:
        cdef uint64_t number
        if length == 0 or offset > self.size or length > self.size - offset:
            return False
        for number in range(offset // PIECE, (offset + length - 1) // PIECE + 1):
            if piece_state(&self.pieces[number]) != KEPT:
                return False
        return True

    cdef ssize_t read_now(self, char *into, size_t length, uint64_t offset) noexcept nogil:
        if self.is_all_kept(offset, length):
            return self.store.read_now(into, length, offset)
        return self.base.read_now(into, length, offset)

    cdef int place(self, uint64_t offset, size_t length, Place *into) noexcept nogil:
        cdef int found = self.base.place(offset, length, into)
        if found != -EOPNOTSUPP:
            return found
        return self.store.place(offset, length, into) if self.is_all_kept(offset, length) else -EAGAIN

    def read_at(self, uint64_t offset, size_t length):
        try:
            return Image.read_at(self, offset, length)
        except StorageError:
            return self.base.read_at(offset, length)  # which says more, or has recovered

    def extents(self, uint64_t offset, uint64_t length):
        return self.base.extents(offset, length)
