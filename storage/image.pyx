# cython: language_level=3
"""Images: bytes read at any offset, from any thread; the storage seam as native code.

The C operations (`image.pxd`) are what pumps call without the GIL; `read_at`, `read_at_now`, `write_at`,
`sync` and `extents` are the same for Python. Left out: copy-on-write layers and squashfs (later rooms).
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, EIO, ENOSYS, ENXIO, EOPNOTSUPP, EROFS, errno
from libc.string cimport memcpy, memset
from posix.types cimport off_t
from posix.unistd cimport close, fdatasync, pread, pwrite

import hashlib
import os
import stat

from storage.errors import StorageError

cdef extern from "<sys/uio.h>" nogil:
    struct iovec:
        void *iov_base
        size_t iov_len
    int RWF_NOWAIT
    ssize_t preadv2(int fd, const iovec *iov, int count, off_t offset, int flags)

cdef extern from "<fcntl.h>" nogil:
    int FALLOC_FL_PUNCH_HOLE
    int FALLOC_FL_KEEP_SIZE
    int fallocate(int fd, int mode, off_t offset, off_t length)

cdef extern from "<sys/mman.h>" nogil:
    int PROT_READ
    int MAP_SHARED
    void *MAP_FAILED
    void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset)
    int munmap(void *at, size_t length)
    int mincore(void *at, size_t length, unsigned char *into)

cdef extern from "<sys/syscall.h>" nogil:
    long syscall(long number, ...)

cdef extern from *:
    """
    #ifndef SYS_cachestat
    #define SYS_cachestat 451 /* on every architecture; Linux 6.5, glibc 2.39 */
    #endif
    """
    long SYS_cachestat

cdef extern from "<sys/vfs.h>" nogil:
    struct statfs_t "statfs":
        long f_type
    int fstatfs(int fd, statfs_t *into)

cdef extern from "<linux/magic.h>":
    long TMPFS_MAGIC
    long RAMFS_MAGIC

cdef enum:
    LOOK_PAGES = 256  # asked of mincore at once

cdef uint64_t PAGE = os.sysconf("SC_PAGE_SIZE")

cdef size_t READ_MAX = 64 << 20  # bytes of one read_at: twice NBD's largest payload; keeps a bad length from allocating


cdef object require_inside(Image image, uint64_t offset, uint64_t length):
    if offset > image.size or length > image.size - offset:
        raise StorageError(f"{length} bytes at {offset} leave the image of {image.size} bytes", ENXIO)


cdef bytes buffer_for(Image image, uint64_t offset, size_t length):
    require_inside(image, offset, length)
    if length > READ_MAX:
        raise StorageError(f"read of {length} bytes is over the limit of {READ_MAX}", ENXIO)
    return PyBytes_FromStringAndSize(NULL, length)


cdef object require_whole(ssize_t count, size_t length, uint64_t offset):
    if count < 0:
        raise StorageError(f"image i/o at {offset} failed: {os.strerror(-count)}", -count)
    if <size_t> count != length:
        raise StorageError(f"image ends at {offset + count}, {length - count} bytes early: it was truncated", EIO)


cdef size_t bytes_inside(Image base, size_t length, uint64_t offset) noexcept nogil:
    if offset >= base.size:
        return 0
    return min(length, <size_t> (base.size - offset))


cdef class Image:
    """Base of every image and layer; by itself it is empty and refuses writes."""

    cdef ssize_t read_now(self, char *into, size_t length, uint64_t offset) noexcept nogil:
        return -EAGAIN

    cdef ssize_t read(self, char *into, size_t length, uint64_t offset) noexcept nogil:
        return -EIO

    cdef ssize_t write(self, const char *data, size_t length, uint64_t offset) noexcept nogil:
        return -EROFS

    cdef int flush(self) noexcept nogil:
        return 0

    cdef int punch(self, uint64_t offset, uint64_t length) noexcept nogil:
        return -EOPNOTSUPP

    cdef int place(self, uint64_t offset, size_t length, Place *into) noexcept nogil:
        return -EOPNOTSUPP

    def read_at(self, uint64_t offset, size_t length):
        cdef bytes out = buffer_for(self, offset, length)
        cdef char *into = PyBytes_AS_STRING(out)
        cdef ssize_t got
        with nogil:
            got = self.read(into, length, offset)
        require_whole(got, length, offset)
        return out

    def read_at_now(self, uint64_t offset, size_t length):
        cdef bytes out = buffer_for(self, offset, length)
        cdef ssize_t got = self.read_now(PyBytes_AS_STRING(out), length, offset)
        if got == -EAGAIN:
            return None
        require_whole(got, length, offset)
        return out

    def place_at(self, uint64_t offset, size_t length):
        cdef Place found
        cdef int failed
        require_inside(self, offset, length)
        with nogil:
            failed = self.place(offset, length, &found)
        return None if failed < 0 else (found.fd, found.offset)

    def write_at(self, uint64_t offset, const unsigned char[::1] data not None):
        cdef size_t length = data.shape[0]
        cdef ssize_t put
        if not self.writable:
            raise StorageError("image is read-only", EROFS)
        require_inside(self, offset, length)
        if length == 0:
            return
        with nogil:
            put = self.write(<const char *> &data[0], length, offset)
        require_whole(put, length, offset)

    def punch_at(self, uint64_t offset, uint64_t length):
        cdef int failed
        if not self.writable:
            raise StorageError("image is read-only", EROFS)
        require_inside(self, offset, length)
        with nogil:
            failed = self.punch(offset, length)
        if failed < 0 and failed != -EOPNOTSUPP:
            raise StorageError(f"punching {length} bytes at {offset} failed: " + os.strerror(-failed), -failed)
        return failed == 0

    def sync(self):
        cdef int failed
        with nogil:
            failed = self.flush()
        if failed < 0:
            raise StorageError("flush failed: " + os.strerror(-failed), -failed)

    def extents(self, uint64_t offset, uint64_t length):
        require_inside(self, offset, length)
        return [(length, False)] if length else []


cdef uint64_t seek(FileImage image, uint64_t at, uint64_t end, int whence) except? 0:
    try:
        return min(os.lseek(image.fd, at, whence), end)
    except OSError as failure:
        if failure.errno == ENXIO:  # nothing of the kind up to the end of the file
            return end
        raise StorageError(f"{image.path}: seeking holes failed: {failure.strerror}", failure.errno) from failure


cdef struct CacheRange:
    uint64_t offset
    uint64_t length

cdef struct CacheCount:  # struct cachestat of linux/mman.h, in pages
    uint64_t cached
    uint64_t dirty
    uint64_t writeback
    uint64_t evicted
    uint64_t recently_evicted


cdef bint has_cachestat() noexcept nogil:
    return syscall(SYS_cachestat, -1, NULL, NULL, 0) == 0 or errno != ENOSYS


HAS_CACHESTAT = has_cachestat()  # Linux 6.5


cdef bint is_mapping_cached(FileImage image, uint64_t first, uint64_t end) noexcept nogil:
    # Page by page by mincore: some forty times slower than cachestat, and still a twentieth of copying.
    cdef unsigned char pages[LOOK_PAGES]
    cdef uint64_t part, page
    if end > image.mapped:
        return False
    while first < end:
        part = min(end - first, LOOK_PAGES * PAGE)
        if mincore(<char *> image.mapping + first, part, pages) < 0:
            return False
        for page in range((part + PAGE - 1) // PAGE):
            if not pages[page] & 1:
                return False
        first += part
    return True


cdef bint is_range_cached(FileImage image, uint64_t offset, uint64_t length) noexcept nogil:
    cdef uint64_t end = offset + length
    cdef CacheRange asked
    cdef CacheCount found
    asked.offset = offset & ~(PAGE - 1)
    asked.length = end - asked.offset
    if image.mapped:
        return is_mapping_cached(image, asked.offset, end)
    if syscall(SYS_cachestat, image.fd, &asked, &found, 0) != 0:
        return False
    return found.cached >= (asked.length + PAGE - 1) // PAGE


cdef class FileImage(Image):
    """A regular file or block device."""

    def __cinit__(self, path, *, bint writable=False):
        cdef statfs_t filesystem
        self.fd = -1
        self.path = os.fspath(path)
        self.writable = writable
        self.fd = os.open(self.path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC | os.O_NONBLOCK)
        found = os.fstat(self.fd)
        self.can_seek_holes = stat.S_ISREG(found.st_mode)  # the kernel knows no holes of block devices
        if stat.S_ISREG(found.st_mode):
            self.size = found.st_size
        elif stat.S_ISBLK(found.st_mode):
            self.size = os.lseek(self.fd, 0, os.SEEK_END)
        else:
            raise StorageError(f"{self.path} is neither a file nor a block device", EIO)
        self.version = f"{found.st_ino:x}-{found.st_mtime_ns:x}-{self.size:x}"
        if not HAS_CACHESTAT and self.size:
            self.mapping = mmap(NULL, self.size, PROT_READ, MAP_SHARED, self.fd, 0)
            self.mapped = 0 if self.mapping == MAP_FAILED else self.size
        # Memory file systems have no RWF_NOWAIT, and never wait: a plain read is the same thing there.
        self.in_memory = fstatfs(self.fd, &filesystem) == 0 and filesystem.f_type in (TMPFS_MAGIC, RAMFS_MAGIC)

    def __dealloc__(self):
        if self.mapped:
            munmap(self.mapping, self.mapped)
        if self.fd >= 0:
            close(self.fd)

    def fileno(self):
        return self.fd

    cdef ssize_t read_now(self, char *into, size_t length, uint64_t offset) noexcept nogil:
        cdef size_t done = 0
        cdef ssize_t got
        cdef iovec part
        if self.in_memory:
            return self.read(into, length, offset)
        while done < length:
            part.iov_base = into + done
            part.iov_len = length - done
            got = preadv2(self.fd, &part, 1, <off_t> (offset + done), RWF_NOWAIT)
            if got > 0:
                done += got
            elif got == 0:
                break
            elif errno == EOPNOTSUPP:
                return -EAGAIN  # a file system without RWF_NOWAIT: always by way of the pool
            elif errno != EINTR:
                return -errno
        return done

    cdef ssize_t read(self, char *into, size_t length, uint64_t offset) noexcept nogil:
        cdef size_t done = 0
        cdef ssize_t got
        while done < length:
            got = pread(self.fd, into + done, length - done, <off_t> (offset + done))
            if got > 0:
                done += got
            elif got == 0:
                break
            elif errno != EINTR:
                return -errno
        return done

    cdef ssize_t write(self, const char *data, size_t length, uint64_t offset) noexcept nogil:
        cdef size_t done = 0
        cdef ssize_t put
        while done < length:
            put = pwrite(self.fd, data + done, length - done, <off_t> (offset + done))
            if put >= 0:
                done += put
            elif errno != EINTR:
                return -errno
        return done

    cdef int flush(self) noexcept nogil:
        return 0 if fdatasync(self.fd) == 0 else -errno

    cdef int punch(self, uint64_t offset, uint64_t length) noexcept nogil:
        if length == 0:
            return 0
        while fallocate(self.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, <off_t> offset, <off_t> length) != 0:
            if errno != EINTR:
                return -errno
        return 0

    def is_cached(self, uint64_t offset, uint64_t length):
        require_inside(self, offset, length)
        return self.in_memory or length == 0 or is_range_cached(self, offset, length)

    cdef int place(self, uint64_t offset, size_t length, Place *into) noexcept nogil:
        if not self.in_memory and not is_range_cached(self, offset, length):
            return -EAGAIN
        into.fd = self.fd
        into.offset = offset
        return 0

    def extents(self, uint64_t offset, uint64_t length):
        if not self.can_seek_holes:
            return Image.extents(self, offset, length)
        require_inside(self, offset, length)
        found = []
        cdef uint64_t at = offset, end = offset + length, data, hole
        while at < end:
            data = seek(self, at, end, os.SEEK_DATA)
            if data > at:
                found.append((data - at, True))
            if data < end:
                hole = seek(self, data, end, os.SEEK_HOLE)
                found.append((hole - data, False))
                at = hole
            else:
                at = end
        return found


cdef class BytesImage(Image):
    """Bytes held in memory: generated menus, scripts and configurations."""

    def __cinit__(self, bytes content not None):
        self.content = content
        self.start = PyBytes_AS_STRING(content)
        self.size = len(content)
        self.version = hashlib.blake2b(content, digest_size=12).hexdigest()

    cdef ssize_t read_now(self, char *into, size_t length, uint64_t offset) noexcept nogil:
        return self.read(into, length, offset)

    cdef ssize_t read(self, char *into, size_t length, uint64_t offset) noexcept nogil:
        length = bytes_inside(self, length, offset)
        if length == 0:
            return 0
        memcpy(into, self.start + offset, length)
        return length


cdef ssize_t pad(char *into, size_t length, size_t inside, ssize_t got) noexcept nogil:
    if got < 0 or <size_t> got != inside:
        return got
    memset(into + inside, 0, length - inside)
    return length


cdef class PaddedImage(Image):
    """A layer that rounds the size up to a multiple with zeros, for clients that only know whole sectors."""

    def __cinit__(self, Image base not None, *, uint64_t multiple):
        if multiple == 0 or multiple & (multiple - 1):
            raise ValueError(f"multiple {multiple} is not a power of two")
        self.base = base
        self.version = base.version
        self.size = (base.size + multiple - 1) & ~(multiple - 1)

    cdef ssize_t read_now(self, char *into, size_t length, uint64_t offset) noexcept nogil:
        cdef size_t inside = bytes_inside(self.base, length, offset)
        cdef ssize_t got = self.base.read_now(into, inside, offset) if inside else 0
        return pad(into, length, inside, got)

    cdef ssize_t read(self, char *into, size_t length, uint64_t offset) noexcept nogil:
        cdef size_t inside = bytes_inside(self.base, length, offset)
        cdef ssize_t got = self.base.read(into, inside, offset) if inside else 0
        return pad(into, length, inside, got)

    cdef int place(self, uint64_t offset, size_t length, Place *into) noexcept nogil:
        if bytes_inside(self.base, length, offset) < length:
            return -EOPNOTSUPP  # the padding is nobody's
        return self.base.place(offset, length, into)

    def extents(self, uint64_t offset, uint64_t length):
        require_inside(self, offset, length)
        cdef uint64_t inside = bytes_inside(self.base, length, offset)
        found = list(self.base.extents(offset, inside)) if inside else []
        if length > inside:
            found.append((length - inside, True))
        return found
