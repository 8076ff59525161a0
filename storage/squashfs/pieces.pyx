# cython: language_level=3
"""The bytes of many files of an image, one file after the other; nothing of it is for Python but what it iterates over.

Files are read a batch at a time, for which the GIL is given up twice: threads that ask for one small file after the
other take longer to hand it to each other than to read. With more than one thread, helpers read batches ahead of who
iterates, who reads what nobody has taken yet when it comes to its turn. A batch is one thread's: small files that follow
each other have their ends in one fragment, and would wait for each other. So little is read at a time that the
allocator uses the same memory again and again, which then costs no page faults.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint64_t
from libc.stdlib cimport free, malloc

import errno
import os
from itertools import chain, islice

from storage.squashfs.fault cimport Fault, raise_fault
from storage.squashfs.file cimport ONCE, SquashfsFile, load_file
from storage.squashfs.format cimport BLOCK_MOST, DIRECTORY, FILE, Inode
from storage.squashfs.volume cimport Volume
from storage.threads cimport (
    pthread_cond_broadcast,
    pthread_cond_destroy,
    pthread_cond_init,
    pthread_cond_t,
    pthread_cond_wait,
    pthread_join,
    pthread_mutex_destroy,
    pthread_mutex_init,
    pthread_mutex_lock,
    pthread_mutex_t,
    pthread_mutex_unlock,
    pthread_t,
    start_thread,
)

cdef enum:
    FILES = 64          # loaded at once: a Debian root has 27 kB in one
    ROOM = BLOCK_MOST   # bytes of a batch: of any image whole blocks
    MORE = 4            # batches lined up, besides one a thread: helpers that find none sleep, and take time to wake
    THREADS_MOST = 16
    SPARE = 8 << 20     # bytes; see `keep_memory`

cdef struct Loading:
    void *file          # kept by a list
    uint64_t reference
    Inode inode

# What it names is held here and not in lists: the garbage collector empties those, also while a helper reads.
cdef struct Part:
    void *file          # a SquashfsFile
    void *data          # its bytes, or some of them
    char *into
    uint64_t reference
    uint64_t at
    size_t length

cdef enum Progress:
    PLANNED
    TAKEN
    OVER

cdef struct Batch:
    Part parts[FILES]
    int count
    int done            # read before one that could not be
    Progress progress
    Fault fault
    Batch *next         # in the order of the files

cdef struct Crew:
    pthread_mutex_t lock
    pthread_cond_t changed
    Batch *first        # whose turn is next
    Batch *last
    bint is_over


cdef void keep_memory() noexcept nogil:
    # glibc keeps twice as much free memory as the largest mapped block was that it ever gave back, once one was. Else it
    # would give back each batch and take its pages one by one for the next: a fifth of the time of reading lz4.
    PyMem_RawFree(PyMem_RawMalloc(SPARE))  # malloc and free themselves a compiler would leave out


cdef int load_files(Loading *files, int count, int *result, Fault *fault) noexcept nogil:
    """How many were loaded before one that could not be, or is no file."""
    cdef int done = 0
    result[0] = 0
    while done < count:
        result[0] = load_file(<SquashfsFile> files[done].file, files[done].reference, &files[done].inode, fault)
        if result[0] < 0 or files[done].inode.kind != FILE:
            break
        done += 1
    return done


cdef void read_batch(Batch *batch) noexcept nogil:
    cdef Part *part
    while batch.done < batch.count:
        part = &batch.parts[batch.done]
        if (<SquashfsFile> part.file).fetch(part.into, part.length, part.at, ONCE, &batch.fault) < 0:
            break
        batch.done += 1


cdef Batch *find_planned(Crew *crew) noexcept nogil:
    cdef Batch *batch = crew.first
    while batch != NULL and batch.progress != PLANNED:
        batch = batch.next
    return batch


cdef void carry_out(Crew *crew, Batch *batch) noexcept nogil:
    # With the lock, which is not held meanwhile.
    batch.progress = TAKEN
    pthread_mutex_unlock(&crew.lock)
    read_batch(batch)
    pthread_mutex_lock(&crew.lock)
    batch.progress = OVER
    pthread_cond_broadcast(&crew.changed)


cdef void *help(void *argument) noexcept nogil:
    cdef Crew *crew = <Crew *> argument
    cdef Batch *batch
    pthread_mutex_lock(&crew.lock)
    while not crew.is_over:
        batch = find_planned(crew)
        if batch != NULL:
            carry_out(crew, batch)
        else:
            pthread_cond_wait(&crew.changed, &crew.lock)
    pthread_mutex_unlock(&crew.lock)
    return NULL


cdef void line_up(Crew *crew, Batch *batch) noexcept nogil:
    pthread_mutex_lock(&crew.lock)
    if crew.first == NULL:
        crew.first = batch
    else:
        crew.last.next = batch
    crew.last = batch
    pthread_cond_broadcast(&crew.changed)
    pthread_mutex_unlock(&crew.lock)


cdef Batch *finish(Crew *crew) noexcept nogil:
    # Its turn: read here what nobody has taken, and those behind it while a helper is at it. Out of the crew with it.
    cdef Batch *batch
    cdef Batch *wanted = crew.first
    pthread_mutex_lock(&crew.lock)
    while wanted.progress != OVER:
        batch = find_planned(crew)
        if batch != NULL:
            carry_out(crew, batch)
        else:
            pthread_cond_wait(&crew.changed, &crew.lock)
    crew.first = wanted.next
    pthread_mutex_unlock(&crew.lock)
    return wanted


cdef Batch *withdraw(Crew *crew) noexcept nogil:
    # All that is lined up, none of which anybody touches any more.
    cdef Batch *batches
    cdef Batch *batch
    pthread_mutex_lock(&crew.lock)
    batch = find_planned(crew)
    while batch != NULL:
        batch.progress = OVER
        batch = find_planned(crew)
    batches = batch = crew.first
    while batch != NULL:
        while batch.progress == TAKEN:
            pthread_cond_wait(&crew.changed, &crew.lock)
        batch = batch.next
    crew.first = NULL
    pthread_mutex_unlock(&crew.lock)
    return batches


cdef object piece_of(const Part *part):
    return part.reference, part.at, <object> part.data


cdef object drop_batch(Batch *batch):
    cdef int number
    for number in range(batch.count):
        Py_DECREF(<object> batch.parts[number].file)
        Py_DECREF(<object> batch.parts[number].data)
    free(batch)


cdef object refuse(const Loading *file):
    number = errno.EISDIR if file.inode.kind == DIRECTORY else errno.EINVAL
    raise OSError(number, os.strerror(number), file.reference)


cdef class Pieces:
    """(reference, offset, bytes), one after the other."""

    cdef Volume volume
    cdef object ahead       # references of files that are not loaded
    cdef list files         # loaded and not planned, with their references
    cdef uint64_t at        # where the first of them goes on
    cdef list ready         # pieces, the last one first
    cdef bint is_busy       # in a thread that gave up the GIL
    cdef Crew crew
    cdef pthread_t[THREADS_MOST] helpers
    cdef int threads        # helpers, and who iterates
    cdef int planned        # batches

    def __cinit__(self, Volume volume not None, references):
        pthread_mutex_init(&self.crew.lock, NULL)
        pthread_cond_init(&self.crew.changed, NULL)
        self.volume, self.ahead = volume, iter(references)
        self.files, self.ready = [], []
        self.threads = 1

    def __dealloc__(self):
        cdef Batch *batch
        cdef Batch *next
        self.dismiss()
        batch = withdraw(&self.crew)
        while batch != NULL:
            next = batch.next
            drop_batch(batch)
            batch = next
        pthread_cond_destroy(&self.crew.changed)
        pthread_mutex_destroy(&self.crew.lock)

    cdef object hire(self, int threads):
        cdef int failed
        while self.threads < threads:
            failed = start_thread(&self.helpers[self.threads], help, &self.crew)
            if failed:
                raise OSError(failed, os.strerror(failed))
            self.threads += 1

    cdef void dismiss(self) noexcept:
        # Nobody is at a batch afterwards; helpers never want the GIL, so it may be held meanwhile.
        pthread_mutex_lock(&self.crew.lock)
        self.crew.is_over = True
        pthread_cond_broadcast(&self.crew.changed)
        pthread_mutex_unlock(&self.crew.lock)
        while self.threads > 1:
            self.threads -= 1
            pthread_join(self.helpers[self.threads], NULL)

    def __iter__(self):
        return self

    def __next__(self):
        if self.is_busy:
            raise ValueError("another thread reads these files: each needs an iterator of its own")
        if not self.ready:
            self.is_busy = True
            try:
                self.plan_ahead()
                if self.planned:
                    self.read()
            finally:
                self.is_busy = False
        if not self.ready:
            raise StopIteration
        return self.ready.pop()

    cdef object plan_ahead(self):
        # One batch for each thread, and with helpers some more, that they have something to go on with.
        while self.planned < self.threads + MORE * (self.threads > 1):
            if not self.files:
                self.load()
            if not self.files:
                return
            self.plan()

    cdef object load(self):
        cdef Loading[FILES] loading
        cdef SquashfsFile file
        cdef Fault fault
        cdef int count = 0, done, result
        found = []
        for reference in islice(self.ahead, FILES):
            file = SquashfsFile.__new__(SquashfsFile)
            file.volume = self.volume
            loading[count].file, loading[count].reference = <void *> file, reference
            found.append((file, reference))
            count += 1
        with nogil:
            done = load_files(loading, count, &result, &fault)
        # What can't be loaded is told when it is its turn; whoever goes on then gets the files behind it.
        is_told = count > 0 and done == 0 and self.planned == 0
        self.files = found[:done]
        self.ahead = chain([reference for _, reference in found[done + is_told:]], self.ahead)
        if is_told:
            if result < 0:
                raise_fault(&fault)
            refuse(&loading[0])

    cdef object plan(self):
        # As many files, or whole blocks of one, as there is room for.
        cdef SquashfsFile file
        cdef uint64_t room = ROOM, length
        cdef Batch *batch = <Batch *> malloc(sizeof(Batch))
        if batch == NULL:
            raise MemoryError
        batch.count, batch.done, batch.progress, batch.next = 0, 0, PLANNED, NULL
        try:
            while self.files and batch.count < FILES:
                file, reference = self.files[0]
                length = file.size - self.at
                if length > room:
                    length = room - room % self.volume.super.block_size
                    if length == 0:
                        break
                add_part(batch, file, reference, self.at, length)
                self.at += length
                room -= length
                if self.at < file.size:
                    break
                self.at = 0
                del self.files[0]
        except MemoryError:
            drop_batch(batch)
            raise
        line_up(&self.crew, batch)
        self.planned += 1

    cdef object read(self):
        cdef Batch *batch
        cdef Fault fault
        cdef int done, number
        with nogil:
            batch = finish(&self.crew)
        self.planned -= 1
        done, fault = batch.done, batch.fault
        for number in range(done - 1, -1, -1):
            self.ready.append(piece_of(&batch.parts[number]))
        if done == batch.count:
            drop_batch(batch)
            return
        self.go_back(batch)
        if done == 0:  # else it is its turn when it is read again
            del self.files[0]
            self.at = 0
            raise_fault(&fault)

    cdef object go_back(self, Batch *batch):
        # To the part that could not be read: nothing behind it is planned any more.
        cdef Batch *next
        cdef int first = batch.done
        cdef int number
        files = []
        self.at, behind = batch.parts[first].at, self.files
        with nogil:
            batch.next = withdraw(&self.crew)
        while batch != NULL:
            for number in range(first, batch.count):
                file = <object> batch.parts[number].file
                if not files or files[-1][0] is not file:
                    files.append((file, batch.parts[number].reference))
            next, first = batch.next, 0
            drop_batch(batch)
            batch = next
        if behind and behind[0][0] is files[-1][0]:
            del behind[0]
        self.files, self.planned = files + behind, 0


cdef object add_part(Batch *batch, SquashfsFile file, uint64_t reference, uint64_t at, size_t length):
    cdef Part *part = &batch.parts[batch.count]
    cdef bytes data = PyBytes_FromStringAndSize(NULL, length)
    Py_INCREF(file)
    Py_INCREF(data)
    part.file, part.data, part.into = <void *> file, <void *> data, PyBytes_AS_STRING(data)
    part.reference, part.at, part.length = reference, at, length
    batch.count += 1


cdef object read_pieces(Volume volume, references, int threads):
    cdef Pieces made
    if not 1 <= threads <= THREADS_MOST:
        raise ValueError(f"{threads} threads: from 1 to {THREADS_MOST} can read files")
    made = Pieces(volume, references)
    keep_memory()
    made.hire(threads)
    return made
