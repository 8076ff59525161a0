# cython: language_level=3
"""An open image: its superblock, its caches, and how metadata and tables are read; nothing of it is for Python.

Metadata is kept in blocks of 8 KiB, each compressed by itself behind a two-byte length, and goes on from one block to
the next. A table of fixed entries (owners, fragments, inode numbers, sets of extended attributes) is such a run of
blocks whose positions stand in an array; the superblock says where that array is.
"""
from libc.errno cimport EIO, EMFILE, ENOMEM, EOPNOTSUPP
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from storage.image cimport Image
from storage.squashfs.cache cimport TO_LOAD, Block, Cache, Held, forget, furnish, hold, release, settle
from storage.squashfs.codecs cimport Tools, give_room, take_room, tools_of_thread, unpack
from storage.squashfs.fault cimport Fault, corrupt, failed, out_of_range, raise_fault, unsupported
from storage.squashfs.format cimport (
    INODE_MOST,
    METADATA_BYTES,
    METADATA_HEADER,
    STORED_METADATA,
    SUPERBLOCK_BYTES,
    Cursor,
    Inode,
    inode_bytes,
    le16,
    le32,
    le64,
    parse_inode,
    parse_superblock,
)

cdef uint64_t opened = 0  # images so far: each has its own number in the caches


cdef class Volume:
    """What all readers of one image share; files hold it, so it lives as long as any of them."""

    def __dealloc__(self):
        if self.blocks is not None:
            forget(self.blocks, self.number)
            forget(self.metadata, self.number)


cdef int read_base(Volume volume, char *into, size_t length, uint64_t offset, Fault *fault) noexcept nogil:
    cdef ssize_t got
    if offset > volume.super.bytes_used or length > volume.super.bytes_used - offset:
        return out_of_range(fault, "a place outside of the image is named", offset)
    got = volume.base.read(into, length, offset)
    if got < 0:
        return failed(fault, <int> -got, offset)
    if <size_t> got != length:
        return out_of_range(fault, "the image became shorter while it was open", offset + got)
    return 0


cdef ssize_t unpack_here(
    Volume volume, Tools *tools, const char *packed, size_t length, uint64_t position, char *into, uint32_t room,
    Fault *fault
) noexcept nogil:
    cdef ssize_t got = unpack(tools, volume.super.compressor, packed, length, into, room)
    if got == -ENOMEM:
        return failed(fault, ENOMEM, position)
    if got == -EOPNOTSUPP:
        return unsupported(fault, "a block was compressed in a way squashfs does not use", position)
    if got < 0:
        return corrupt(fault, "a compressed block is damaged, or larger than it may be", position)
    return got


cdef ssize_t load_block(
    Volume volume, Tools *tools, char *packed, Block *block, uint32_t length, uint32_t room, Fault *fault
) noexcept nogil:
    cdef int result = read_base(volume, packed, length, block.position, fault)
    if result < 0:
        return result
    result = furnish(volume.blocks, block, room, fault)
    if result < 0:
        return result
    return unpack_here(volume, tools, packed, length, block.position, block.bytes, room, fault)


cdef ssize_t load_metadata(
    Volume volume, Tools *tools, char *packed, Block *block, uint64_t end, Fault *fault
) noexcept nogil:
    # Header and bytes by one read: as many as the longest block would have.
    cdef uint64_t position = block.position
    cdef size_t most = METADATA_HEADER + METADATA_BYTES
    cdef uint32_t length
    cdef bint is_stored
    cdef int result
    if position >= end or end - position <= METADATA_HEADER:
        return out_of_range(fault, "metadata outside of its table", position)
    most = min(most, <size_t> (end - position))
    result = read_base(volume, packed, most, position, fault)
    if result < 0:
        return result
    length = le16(<const unsigned char *> packed)
    is_stored = (length & STORED_METADATA) != 0
    length &= ~<uint32_t> STORED_METADATA
    if length == 0 or length > METADATA_BYTES:
        return corrupt(fault, "a metadata block of an impossible length", position)
    if length > most - METADATA_HEADER:
        return out_of_range(fault, "a metadata block leaves its table", position)
    result = furnish(volume.metadata, block, METADATA_BYTES, fault)
    if result < 0:
        return result
    block.next = position + METADATA_HEADER + length
    if is_stored:
        memcpy(block.bytes, packed + METADATA_HEADER, length)
        return length
    return unpack_here(
        volume, tools, packed + METADATA_HEADER, length, position, block.bytes, METADATA_BYTES, fault
    )


cdef ssize_t unpack_block(
    Volume volume, uint64_t position, uint32_t packed, char *into, uint32_t room, Fault *fault
) noexcept nogil:
    cdef Tools *tools = tools_of_thread()
    cdef char *scratch = take_room(tools) if tools != NULL else NULL
    cdef ssize_t got
    if scratch == NULL:
        return failed(fault, EMFILE if tools != NULL else ENOMEM, position)
    got = read_base(volume, scratch, packed, position, fault)
    if got == 0:
        got = unpack_here(volume, tools, scratch, packed, position, into, room, fault)
    give_room(tools)
    return got


cdef int load(
    Volume volume, Cache cache, Block *block, uint32_t packed, uint32_t room, uint64_t end, Fault *fault
) noexcept nogil:
    cdef Tools *tools = tools_of_thread()
    cdef char *scratch = take_room(tools) if tools != NULL else NULL
    cdef ssize_t got
    if scratch == NULL:
        got = failed(fault, EMFILE if tools != NULL else ENOMEM, block.position)
    else:
        if cache is volume.metadata:
            got = load_metadata(volume, tools, scratch, block, end, fault)
        else:
            got = load_block(volume, tools, scratch, block, packed, room, fault)
        give_room(tools)
    settle(cache, block, got, fault)
    if got < 0:
        release(cache, block)
        return <int> got
    return 0


cdef int hold_block(
    Volume volume, uint64_t position, uint32_t packed, uint32_t room, Block **block, Fault *fault
) noexcept nogil:
    """A data block or fragment of `packed` compressed bytes and at most `room` others, pinned."""
    cdef Held how
    cdef int result
    if packed == 0 or packed > volume.super.block_size:
        return out_of_range(fault, "a compressed block is larger than a block", position)
    result = hold(volume.blocks, volume.number, position, block, &how, fault)
    if result == 0 and how == TO_LOAD:
        result = load(volume, volume.blocks, block[0], packed, room, 0, fault)
    return result


cdef int hold_metadata(Volume volume, Cursor *at, Block **block, Fault *fault) noexcept nogil:
    cdef Held how
    cdef int result = hold(volume.metadata, volume.number, at.block, block, &how, fault)
    if result == 0 and how == TO_LOAD:
        result = load(volume, volume.metadata, block[0], 0, 0, at.end, fault)
    return result


cdef int read_metadata(Volume volume, Cursor *at, char *into, size_t length, Fault *fault) noexcept nogil:
    """Copy from where the cursor is, over as many blocks as it takes, and move it; `into` NULL only moves it."""
    cdef Block *block
    cdef size_t part
    cdef int result
    while length:
        result = hold_metadata(volume, at, &block, fault)
        if result < 0:
            return result
        if at.offset > block.length or block.next > at.end:
            release(volume.metadata, block)
            return out_of_range(fault, "a place behind the end of a metadata block is named", at.block)
        part = min(length, <size_t> (block.length - at.offset))
        if into != NULL:
            memcpy(into, block.bytes + at.offset, part)
            into += part
        length -= part
        at.offset += <uint32_t> part
        if at.offset == block.length:
            at.block, at.offset = block.next, 0
        release(volume.metadata, block)
    return 0


cdef int skip_metadata(Volume volume, Cursor *at, uint64_t length, Fault *fault) noexcept nogil:
    return read_metadata(volume, at, NULL, length, fault)


cdef int read_entry(
    Volume volume, uint64_t table, uint64_t entry, char *into, size_t length, Fault *fault
) noexcept nogil:
    """Entry number `entry`, of `length` bytes each, of the table whose array of positions is at `table`."""
    cdef unsigned char[8] position
    cdef uint64_t place = entry * length
    cdef uint64_t where = table + place // METADATA_BYTES * 8
    cdef Cursor at
    cdef int result = read_base(volume, <char *> position, 8, where, fault)
    if result < 0:
        return result
    at.block, at.end, at.offset = le64(position), table, <uint32_t> (place % METADATA_BYTES)
    return read_metadata(volume, &at, into, length, fault)


cdef int read_inode(Volume volume, uint64_t reference, Inode *into, Fault *fault) noexcept nogil:
    cdef unsigned char[INODE_MOST] fixed
    cdef Cursor at
    cdef size_t length
    cdef int result
    if reference >> 48:
        return out_of_range(fault, "an inode outside of the inode table is named", volume.super.inode_table)
    at.block, at.end = volume.super.inode_table + (reference >> 16), volume.super.directory_table
    at.offset = reference & 0xFFFF
    cdef uint64_t position = at.block
    result = read_metadata(volume, &at, <char *> fixed, 2, fault)
    if result < 0:
        return result
    length = inode_bytes(le16(fixed))
    if length == 0:
        return unsupported(fault, "an inode of an unknown type", position)
    result = read_metadata(volume, &at, <char *> fixed + 2, length - 2, fault)
    if result < 0:
        return result
    into.reference = reference
    into.rest = at
    return parse_inode(fixed, into, position, fault)


cdef int read_owner(Volume volume, uint32_t index, uint32_t *into, Fault *fault) noexcept nogil:
    cdef unsigned char[4] number
    cdef int result
    if index >= volume.super.ids:
        return out_of_range(fault, "an owner outside of the table of owners", volume.super.id_table)
    result = read_entry(volume, volume.super.id_table, index, <char *> number, 4, fault)
    into[0] = le32(number)
    return result


cdef Volume open_volume(Image base, Cache blocks, Cache metadata):
    global opened
    cdef unsigned char[SUPERBLOCK_BYTES] start
    cdef Volume volume = Volume.__new__(Volume)
    cdef Fault fault
    cdef int result
    volume.base = base
    volume.super.bytes_used = base.size
    with nogil:
        result = read_base(volume, <char *> start, SUPERBLOCK_BYTES, 0, &fault)
        if result == 0:
            result = parse_superblock(start, base.size, &volume.super, &fault)
    if result < 0:
        raise_fault(&fault)
    opened += 1
    volume.number, volume.blocks, volume.metadata = opened, blocks, metadata
    return volume
