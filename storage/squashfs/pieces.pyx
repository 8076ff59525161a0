# cython: language_level=3
"""The bytes of many files of an image, one file after the other; nothing of it is for Python but what it iterates over.

Files are read some at a time, for which the GIL is given up twice: threads that ask for one small file after the other
take longer to hand it to each other than to read. So little is read at a time that the allocator uses the same memory
again and again, which then costs no page faults.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint64_t

import errno
import os
from itertools import chain, islice

from storage.squashfs.fault cimport Fault, raise_fault
from storage.squashfs.file cimport ONCE, SquashfsFile, load_file
from storage.squashfs.format cimport BLOCK_MOST, DIRECTORY, FILE, Inode
from storage.squashfs.volume cimport Volume

cdef enum:
    FILES = 64          # loaded at once: a Debian root has 27 kB in one
    ROOM = BLOCK_MOST   # bytes read at once: of any image whole blocks

cdef struct Part:
    void *file          # kept by the list of files
    uint64_t at         # its reference while it is loaded, an offset in it then
    size_t length
    char *into
    Inode inode


cdef int load_parts(Part *parts, int count, int *result, Fault *fault) noexcept nogil:
    """How many were loaded before one that could not be, or is no file."""
    cdef int done = 0
    cdef Part *part
    result[0] = 0
    while done < count:
        part = &parts[done]
        result[0] = load_file(<SquashfsFile> part.file, part.at, &part.inode, fault)
        if result[0] < 0 or part.inode.kind != FILE:
            break
        done += 1
    return done


cdef int read_parts(Part *parts, int count, Fault *fault) noexcept nogil:
    """How many were read before one that could not be."""
    cdef int done = 0
    cdef Part *part
    while done < count:
        part = &parts[done]
        if (<SquashfsFile> part.file).fetch(part.into, part.length, part.at, ONCE, fault) < 0:
            break
        done += 1
    return done


cdef object refuse(const Part *part):
    number = errno.EISDIR if part.inode.kind == DIRECTORY else errno.EINVAL
    raise OSError(number, os.strerror(number), part.at)


cdef class Pieces:
    """(reference, offset, bytes), one after the other."""

    cdef Volume volume
    cdef object ahead       # references of files that are not loaded
    cdef list files         # loaded, with their references
    cdef uint64_t at        # where the first of them goes on
    cdef list ready         # pieces, the last one first
    cdef bint is_busy       # in a thread that gave up the GIL

    def __iter__(self):
        return self

    def __next__(self):
        if self.is_busy:
            raise ValueError("another thread reads these files: each needs an iterator of its own")
        if not self.ready:
            self.is_busy = True
            try:
                if not self.files:
                    self.load()
                self.read()
            finally:
                self.is_busy = False
        if not self.ready:
            raise StopIteration
        return self.ready.pop()

    cdef object load(self):
        cdef Part[FILES] parts
        cdef SquashfsFile file
        cdef Fault fault
        cdef int count = 0, done, result
        found = []
        for reference in islice(self.ahead, FILES):
            file = SquashfsFile.__new__(SquashfsFile)
            file.volume = self.volume
            parts[count].file, parts[count].at = <void *> file, reference
            found.append((file, reference))
            count += 1
        with nogil:
            done = load_parts(parts, count, &result, &fault)
        self.files = found[:done]
        # What can't be loaded is told when it is its turn; whoever goes on then gets the files behind it.
        self.ahead = chain([reference for _, reference in found[max(done, 1):]], self.ahead)
        if count and done == 0:
            if result < 0:
                raise_fault(&fault)
            refuse(&parts[0])

    cdef int plan(self, Part *parts):
        # As many files, or whole blocks of one, as there is room for.
        cdef SquashfsFile file
        cdef uint64_t at = self.at, room = ROOM, length
        cdef int count = 0
        for file, _ in self.files:
            length = file.size - at
            if length > room:
                length = room - room % self.volume.super.block_size
            if length < file.size - at and length == 0:
                break
            parts[count].file, parts[count].at, parts[count].length = <void *> file, at, length
            at, room, count = 0, room - length, count + 1
            if length < file.size - parts[count - 1].at:
                break
        return count

    cdef object read(self):
        cdef Part[FILES] parts
        cdef int count = self.plan(parts), done
        cdef bytes data
        cdef Fault fault
        pieces = []
        for done in range(count):
            data = PyBytes_FromStringAndSize(NULL, parts[done].length)
            parts[done].into = PyBytes_AS_STRING(data)
            pieces.append((self.files[done][1], parts[done].at, data))
        with nogil:
            done = read_parts(parts, count, &fault)
        if count and done == 0:
            del self.files[0]
            self.at = 0
            raise_fault(&fault)
        if done:
            self.pass_by(&parts[done - 1], done)
        self.ready = pieces[:done][::-1]

    cdef object pass_by(self, const Part *last, int count):
        cdef SquashfsFile file = self.files[count - 1][0]
        self.at = last.at + last.length
        if self.at == file.size:
            self.at = 0
        else:
            count -= 1
        del self.files[:count]


cdef object read_pieces(Volume volume, references):
    cdef Pieces made = Pieces.__new__(Pieces)
    made.volume, made.ahead = volume, iter(references)
    made.files, made.ready = [], []
    return made
