# cython: language_level=3
"""A file inside an image, as an image: any layer or pump reads it like any other, without the GIL.

Blocks that are compressed go through the cache; blocks stored as they are, and holes, do not, since the page cache has
the ones and the others are nothing. A read is answered from one block after the other, one pin at a time.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, ENOMEM, ENXIO, EOPNOTSUPP
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from storage.errors import StorageError
from storage.image cimport Image, Place
from storage.squashfs.cache cimport Block, hold_now, release
from storage.squashfs.fault cimport Fault, corrupt, failed, out_of_range, raise_fault
from storage.squashfs.format cimport (
    BLOCKS_MOST,
    FILE,
    NO_FRAGMENT,
    NO_TABLE,
    STORED_BLOCK,
    Cursor,
    Inode,
    le32,
    le64,
)
from storage.squashfs.volume cimport (
    Volume,
    hold_block,
    read_base,
    read_entry,
    read_inode,
    read_metadata,
    unpack_block,
)

cdef enum:
    STRIDE = 32             # blocks from one remembered start to the next: the rest is added up
    FRAGMENT_BYTES = 16     # of a fragment's entry: 0 start  8 size  12 unused
    SHORT = 65536           # bytes copied in less time than another thread takes to hand the GIL back

READ_MAX = 64 << 20  # bytes of one read_at, as of every image


cdef class SquashfsFile(Image):
    """A file inside an image; made by `Squashfs.open_file`."""

    def __init__(self):
        raise TypeError("a file inside an image comes from Squashfs.open_file")

    def __dealloc__(self):
        free(self.sizes)
        free(self.starts)

    cdef ssize_t read_now(self, char *into, size_t length, uint64_t offset) noexcept nogil:
        cdef Fault fault
        return self.fetch(into, length, offset, NOW, &fault)

    cdef ssize_t read(self, char *into, size_t length, uint64_t offset) noexcept nogil:
        cdef Fault fault
        return self.fetch(into, length, offset, KEEP, &fault)

    cdef ssize_t fetch(self, char *into, size_t length, uint64_t offset, Way way, Fault *fault) noexcept nogil:
        cdef uint32_t block_size = self.volume.super.block_size
        cdef uint64_t number
        cdef size_t done = 0, part, within
        cdef int result
        if offset >= self.size:
            return 0
        length = min(length, <size_t> (self.size - offset))
        while done < length:
            number = (offset + done) // block_size
            within = (offset + done) % block_size
            part = min(length - done, block_size - within)
            if number < self.blocks:
                result = read_block(self, number, into + done, part, within, way, fault)
            else:
                result = read_tail(self, into + done, part, within, way, fault)
            if result < 0:
                return result
            done += part
        return done

    cdef int place(self, uint64_t offset, size_t length, Place *into) noexcept nogil:
        cdef uint64_t start
        if length == 0 or offset > self.size or length > self.size - offset or not find_stored(self, offset, length, &start):
            return -EOPNOTSUPP
        return self.volume.base.place(start, length, into)

    def read_at(self, uint64_t offset, size_t length):
        cdef bytes out = buffer_for(self, offset, length)
        cdef char *into = PyBytes_AS_STRING(out)
        cdef Fault fault
        cdef ssize_t got = -EAGAIN
        if length <= SHORT and is_one_block(self, offset, length):
            got = self.fetch(into, length, offset, NOW, &fault)
        if got == -EAGAIN:
            with nogil:
                got = self.fetch(into, length, offset, KEEP, &fault)
        if got < 0:
            raise_fault(&fault)
        return out

    def read_at_now(self, uint64_t offset, size_t length):
        cdef bytes out = buffer_for(self, offset, length)
        cdef Fault fault
        cdef ssize_t got = self.fetch(PyBytes_AS_STRING(out), length, offset, NOW, &fault)
        if got == -EAGAIN:
            return None
        if got < 0:
            raise_fault(&fault)
        return out

    @property
    def layout(self):
        cdef uint64_t first = self.starts[0] if self.blocks else 0
        cdef uint64_t end = 0
        if self.blocks:
            end = start_of(self, self.blocks - 1) + packed_bytes(self.sizes[self.blocks - 1])
        return first, end - first, self.fragment_start, packed_bytes(self.fragment_size)

    def extents(self, uint64_t offset, uint64_t length):
        buffer_for(self, offset, 0)
        if length > self.size - offset:
            raise StorageError(f"{length} bytes at {offset} leave the file of {self.size} bytes", ENXIO)
        cdef uint64_t end = offset + length, number, until
        cdef bint is_hole
        found = []
        while offset < end:
            number = offset // self.volume.super.block_size
            is_hole = number < self.blocks and self.sizes[number] == 0
            until = min(end, (number + 1) * self.volume.super.block_size)
            if found and found[-1][1] == is_hole:
                found[-1] = (found[-1][0] + until - offset, is_hole)
            else:
                found.append((until - offset, is_hole))
            offset = until
        return found


cdef bint is_one_block(SquashfsFile file, uint64_t offset, size_t length) noexcept nogil:
    cdef uint32_t block_size = file.volume.super.block_size
    return length and offset // block_size == (offset + length - 1) // block_size


cdef bytes buffer_for(SquashfsFile file, uint64_t offset, size_t length):
    if offset > file.size or length > file.size - offset:
        raise StorageError(f"{length} bytes at {offset} leave the file of {file.size} bytes", ENXIO)
    if length > <size_t> READ_MAX:
        raise StorageError(f"read of {length} bytes is over the limit of {READ_MAX}", ENXIO)
    return PyBytes_FromStringAndSize(NULL, length)


cdef uint32_t packed_bytes(uint32_t size) noexcept nogil:
    return size & ~<uint32_t> STORED_BLOCK


cdef uint32_t whole_bytes(SquashfsFile file, uint64_t number) noexcept nogil:
    # What a block has, decompressed: only the last is shorter.
    cdef uint64_t block_size = file.volume.super.block_size
    return <uint32_t> min(block_size, file.size - number * block_size)


cdef uint64_t start_of(SquashfsFile file, uint64_t number) noexcept nogil:
    cdef uint64_t at = number - number % STRIDE
    cdef uint64_t start = file.starts[number // STRIDE]
    while at < number:
        start += packed_bytes(file.sizes[at])
        at += 1
    return start


cdef bint find_stored(SquashfsFile file, uint64_t offset, size_t length, uint64_t *start) noexcept nogil:
    # Where all of a range lies in the image as it is: blocks that are stored lie one behind the other.
    cdef uint32_t block_size = file.volume.super.block_size
    cdef uint64_t first = offset // block_size, last = (offset + length - 1) // block_size, number
    if first == file.blocks:  # within the end that is in a fragment
        start[0] = file.fragment_start + file.fragment_offset + offset % block_size
        return (file.fragment_size & STORED_BLOCK) != 0 and (
            file.fragment_offset + file.tail <= packed_bytes(file.fragment_size)
        )
    for number in range(first, last + 1):
        if number == file.blocks or file.sizes[number] != STORED_BLOCK | whole_bytes(file, number):
            return False
    start[0] = start_of(file, first) + offset % block_size
    return True


cdef int read_stored(
    SquashfsFile file, uint64_t start, char *into, size_t length, Way way, Fault *fault
) noexcept nogil:
    cdef ssize_t got
    if way != NOW:
        return read_base(file.volume, into, length, start, fault)
    got = file.volume.base.read_now(into, length, start)
    if got < 0:
        return <int> got if got == -EAGAIN else failed(fault, <int> -got, start)
    return 0 if <size_t> got == length else out_of_range(fault, "the image became shorter while it was open", start)


cdef int read_packed(
    SquashfsFile file, uint64_t start, uint32_t packed, uint32_t room, Block **block, Way way, Fault *fault
) noexcept nogil:
    if way != NOW:
        return hold_block(file.volume, start, packed, room, block, fault)
    block[0] = hold_now(file.volume.blocks, file.volume.number, start)
    return -EAGAIN if block[0] == NULL else 0


cdef int unpack_whole(
    SquashfsFile file, uint64_t start, uint32_t packed, char *into, uint32_t whole, Fault *fault
) noexcept nogil:
    # A block that will not be asked for again: no memory is filled with it but the one it is for.
    cdef Block *block = hold_now(file.volume.blocks, file.volume.number, start)
    cdef ssize_t got
    if block == NULL:
        got = unpack_block(file.volume, start, packed, into, whole, fault)
    else:
        got = block.length
        memcpy(into, block.bytes, min(block.length, whole))
        release(file.volume.blocks, block)
    if got < 0:
        return <int> got
    return 0 if got == whole else corrupt(fault, "a block of another length than the file has there", start)


cdef int read_block(
    SquashfsFile file, uint64_t number, char *into, size_t length, size_t within, Way way, Fault *fault
) noexcept nogil:
    cdef uint32_t size = file.sizes[number]
    cdef uint32_t whole = whole_bytes(file, number)
    cdef uint64_t start
    cdef Block *block
    cdef int result
    if size == 0:
        memset(into, 0, length)
        return 0
    start = start_of(file, number)
    if size & STORED_BLOCK:
        if packed_bytes(size) != whole:
            return corrupt(fault, "a stored block of another length than the file has there", start)
        return read_stored(file, start + within, into, length, way, fault)
    if way == ONCE and length == whole:
        return unpack_whole(file, start, size, into, whole, fault)
    result = read_packed(file, start, size, whole, &block, way, fault)
    if result < 0:
        return result
    if block.length == whole:
        memcpy(into, block.bytes + within, length)
    else:
        result = corrupt(fault, "a block of another length than the file has there", start)
    release(file.volume.blocks, block)
    return result


cdef int read_tail(
    SquashfsFile file, char *into, size_t length, size_t within, Way way, Fault *fault
) noexcept nogil:
    cdef uint64_t start = file.fragment_start
    cdef uint64_t last = file.fragment_offset + file.tail
    cdef Block *block
    cdef int result
    within += file.fragment_offset
    if file.fragment_size & STORED_BLOCK:
        if last > packed_bytes(file.fragment_size):
            return out_of_range(fault, "a file's end lies outside of its fragment", start)
        return read_stored(file, start + within, into, length, way, fault)
    result = read_packed(
        file, start, file.fragment_size, file.volume.super.block_size, &block, way, fault
    )
    if result < 0:
        return result
    if last <= block.length:
        memcpy(into, block.bytes + within, length)
    else:
        result = out_of_range(fault, "a file's end lies outside of its fragment", start)
    release(file.volume.blocks, block)
    return result


cdef bint is_inside(Volume volume, uint64_t start, uint32_t length) noexcept nogil:
    return start <= volume.super.bytes_used and length <= volume.super.bytes_used - start


cdef int find_fragment(SquashfsFile file, const Inode *inode, Fault *fault) noexcept nogil:
    cdef unsigned char[FRAGMENT_BYTES] entry
    cdef uint64_t table = file.volume.super.fragment_table
    cdef uint32_t block_size = file.volume.super.block_size
    cdef int result
    if table == NO_TABLE or inode.fragment >= file.volume.super.fragments:
        return out_of_range(fault, "a fragment outside of the table of fragments is named", file.volume.super.inode_table)
    if inode.offset >= block_size:
        return out_of_range(fault, "a file's end lies outside of its fragment", file.volume.super.inode_table)
    result = read_entry(file.volume, table, inode.fragment, <char *> entry, FRAGMENT_BYTES, fault)
    if result < 0:
        return result
    file.fragment_start, file.fragment_size = le64(entry), le32(entry + 8)
    file.fragment_offset = inode.offset
    if packed_bytes(file.fragment_size) > block_size:
        return out_of_range(fault, "a fragment is larger than a block", file.fragment_start)
    if not is_inside(file.volume, file.fragment_start, packed_bytes(file.fragment_size)):
        return out_of_range(fault, "a fragment lies outside of the image", file.fragment_start)
    return 0


cdef int read_sizes(SquashfsFile file, const Inode *inode, Fault *fault) noexcept nogil:
    """The list of block sizes, each checked, and where in the image the blocks start."""
    cdef Cursor at = inode.rest
    cdef uint64_t start = inode.start, number
    cdef uint32_t size
    cdef int result = read_metadata(file.volume, &at, <char *> file.sizes, file.blocks * 4, fault)
    if result < 0:
        return result
    for number in range(file.blocks):
        if number % STRIDE == 0:
            file.starts[number // STRIDE] = start
        size = file.sizes[number] = le32(<unsigned char *> &file.sizes[number])
        if packed_bytes(size) > file.volume.super.block_size:
            return out_of_range(fault, "a block's size is over that of blocks", start)
        if not is_inside(file.volume, start, packed_bytes(size)):
            return out_of_range(fault, "a block lies outside of the image", start)
        start += packed_bytes(size)
    return 0


cdef int lay_out(SquashfsFile file, const Inode *inode, Fault *fault) noexcept nogil:
    """Learn where all of it lies; the list of its blocks is read here, and only here."""
    cdef uint32_t block_size = file.volume.super.block_size
    cdef int result
    file.size = inode.size
    file.blocks = inode.size // block_size
    if inode.size % block_size:
        if inode.fragment != NO_FRAGMENT:
            file.tail = inode.size % block_size
        else:
            file.blocks += 1
    if file.blocks > BLOCKS_MOST:
        return out_of_range(fault, "a file has more blocks than the limit", file.volume.super.inode_table)
    file.sizes = <uint32_t *> malloc(file.blocks * 4 + 4)
    file.starts = <uint64_t *> malloc((file.blocks // STRIDE + 1) * 8)
    if file.sizes == NULL or file.starts == NULL:
        return failed(fault, ENOMEM, file.volume.super.inode_table)
    if file.tail:
        result = find_fragment(file, inode, fault)
        if result < 0:
            return result
    return read_sizes(file, inode, fault)


cdef int load_file(SquashfsFile file, uint64_t reference, Inode *inode, Fault *fault) noexcept nogil:
    cdef int result = read_inode(file.volume, reference, inode, fault)
    if result == 0 and inode.kind == FILE:
        result = lay_out(file, inode, fault)
    return result


cdef SquashfsFile make_file(Volume volume, uint64_t reference, Inode *inode):
    """The file at `reference`, or None where its inode, which is told, is no file."""
    cdef SquashfsFile file = SquashfsFile.__new__(SquashfsFile)
    cdef Fault fault
    cdef int result
    file.volume = volume
    with nogil:
        result = load_file(file, reference, inode, &fault)
    if result < 0:
        raise_fault(&fault)
    if inode.kind != FILE:
        return None
    file.version = f"{volume.base.version}-{reference:x}"
    return file
