# cython: language_level=3
"""Directory listings: read in order, or one name looked up by way of the index; nothing of it is for Python.

A listing is runs of entries, sorted by name as bytes; each run has a header with what its entries share:

    run    0 entries - 1    4 inodes' metadata block    8 inode number
    entry  0 offset in it   2 number - the run's (signed)   4 basic type   6 length - 1   8 name

A large directory's inode is followed by an index, one entry for each metadata block of the listing:

    index  0 bytes of the listing before   4 metadata block in the directory table   8 length - 1   12 first name
"""
from libc.stdint cimport int16_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp

from storage.squashfs.fault cimport Fault, corrupt, out_of_range
from storage.squashfs.format cimport (
    DIRECTORY,
    METADATA_BYTES,
    NAME_MOST,
    RUN_MOST,
    SOCKET,
    Cursor,
    Inode,
    le16,
    le32,
)
from storage.squashfs.volume cimport Volume, read_metadata

cdef enum:
    EMPTY_BYTES = 3     # what a listing's size is too large by: for "." and "..", which are not in it
    RUN_BYTES = 12
    ENTRY_BYTES = 8
    INDEX_BYTES = 12


cdef int order(const char *one, size_t one_length, const char *other, size_t other_length) noexcept nogil:
    cdef int difference = memcmp(one, other, min(one_length, other_length))
    if difference:
        return difference
    return (one_length > other_length) - (one_length < other_length)


cdef void start_listing(Volume volume, const Inode *directory, Listing *into) noexcept nogil:
    into.at.block = volume.super.directory_table + directory.start
    into.at.offset = directory.offset
    into.at.end = volume.super.directory_end
    into.left = directory.size - EMPTY_BYTES if directory.size > EMPTY_BYTES else 0
    into.run = 0


cdef int take(Volume volume, Listing *listing, unsigned char *into, size_t length, Fault *fault) noexcept nogil:
    if length > listing.left:
        return corrupt(fault, "a listing ends in the middle of an entry", listing.at.block)
    listing.left -= length
    return read_metadata(volume, &listing.at, <char *> into, length, fault)


cdef int next_run(Volume volume, Listing *listing, Fault *fault) noexcept nogil:
    cdef unsigned char[RUN_BYTES] header
    cdef uint64_t position = listing.at.block
    cdef int result = take(volume, listing, header, RUN_BYTES, fault)
    if result < 0:
        return result
    if le32(header) >= RUN_MOST:
        return out_of_range(fault, "more entries under one header than there may be", position)
    listing.run, listing.block, listing.number = le32(header) + 1, le32(header + 4), le32(header + 8)
    return 0


cdef bint is_name(const char *name, size_t length) noexcept nogil:
    # What would lead elsewhere, were it joined to a path, is no name.
    if memchr(name, c'/', length) != NULL or memchr(name, 0, length) != NULL:
        return False
    return not (name[0] == c'.' and (length == 1 or (length == 2 and name[1] == c'.')))


cdef int next_entry(Volume volume, Listing *listing, Entry *into, Fault *fault) noexcept nogil:
    cdef unsigned char[ENTRY_BYTES] fixed
    cdef uint64_t position
    cdef int result
    if listing.left == 0:
        return 0 if listing.run == 0 else corrupt(fault, "a listing ends within a run", listing.at.block)
    if listing.run == 0:
        result = next_run(volume, listing, fault)
        if result < 0:
            return result
    position = listing.at.block
    result = take(volume, listing, fixed, ENTRY_BYTES, fault)
    if result < 0:
        return result
    into.kind, into.length = le16(fixed + 4), le16(fixed + 6) + 1
    if into.kind < DIRECTORY or into.kind > SOCKET:
        return corrupt(fault, "an entry of an unknown type", position)
    if le16(fixed + 6) >= NAME_MOST:
        return out_of_range(fault, "a name is over the limit", position)
    result = take(volume, listing, <unsigned char *> into.name, into.length, fault)
    if result < 0:
        return result
    if not is_name(into.name, into.length):
        return corrupt(fault, "an entry whose name is none", position)
    into.reference = <uint64_t> listing.block << 16 | le16(fixed)
    into.number = listing.number + <uint32_t> <int16_t> le16(fixed + 2)
    listing.run -= 1
    return 1


cdef int seek(
    Volume volume, const Inode *directory, const char *name, size_t length, Listing *listing, Fault *fault
) noexcept nogil:
    """Move the listing to the last metadata block that starts with no later name; the listing is at its start."""
    cdef unsigned char[INDEX_BYTES] fixed
    cdef char[NAME_MOST] first
    cdef Cursor at = directory.rest
    cdef uint64_t whole = listing.left
    cdef uint32_t index, before, name_length
    cdef int result
    for index in range(directory.indexes):
        result = read_metadata(volume, &at, <char *> fixed, INDEX_BYTES, fault)
        if result < 0:
            return result
        before, name_length = le32(fixed), le32(fixed + 8)
        if name_length >= NAME_MOST or before > whole:
            return out_of_range(fault, "a directory's index names a place outside of its listing", at.block)
        name_length += 1
        result = read_metadata(volume, &at, first, name_length, fault)
        if result < 0:
            return result
        if order(first, name_length, name, length) > 0:
            break
        listing.at.block = volume.super.directory_table + le32(fixed + 4)
        listing.at.offset = (directory.offset + before) % METADATA_BYTES
        listing.left = whole - before
    return 0


cdef int find_entry(
    Volume volume, const Inode *directory, const char *name, size_t length, Entry *into, Fault *fault
) noexcept nogil:
    cdef Listing listing
    cdef int result, difference
    start_listing(volume, directory, &listing)
    result = seek(volume, directory, name, length, &listing, fault)
    while result >= 0:
        result = next_entry(volume, &listing, into, fault)
        if result != 1:
            return result
        difference = order(into.name, into.length, name, length)
        if difference >= 0:
            return difference == 0
    return result
