# cython: language_level=3
"""Extended attributes of one inode; nothing of it is for Python.

Each set of attributes that occurs has a number, and an entry in the table of sets; what it names lies in a run of
metadata blocks whose start stands, before the table's array of positions, at `xattr_table`:

    header  0 start of the run   8 number of sets   12 unused   16 array of positions
    set     0 reference (metadata block in the run << 16 | offset)   8 attributes   12 bytes of all names and values
    name    0 type and flag   2 length   4 name without its prefix
    value   0 length   4 value; of one kept out of line: 0 length (8)   4 reference of the value
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t, uint64_t

from storage.squashfs.fault cimport Fault, corrupt, out_of_range, raise_fault, unsupported
from storage.squashfs.format cimport NO_TABLE, NO_XATTRS, XATTRS_MOST, Cursor, le16, le32, le64
from storage.squashfs.volume cimport Volume, read_base, read_entry, read_metadata

cdef enum:
    TABLE_HEADER = 16
    SET_BYTES = 16
    OUT_OF_LINE = 0x100

PREFIXES = (b"user.", b"trusted.", b"security.")

cdef struct Set:
    Cursor at
    uint64_t run
    uint32_t attributes


cdef int find_set(Volume volume, uint32_t index, Set *into, Fault *fault) noexcept nogil:
    cdef unsigned char[TABLE_HEADER] header
    cdef unsigned char[SET_BYTES] entry
    cdef uint64_t table = volume.super.xattr_table
    cdef int result
    if table == NO_TABLE:
        return corrupt(fault, "an inode has extended attributes, the image has none", volume.super.inode_table)
    result = read_base(volume, <char *> header, TABLE_HEADER, table, fault)
    if result < 0:
        return result
    if index >= le32(header + 8):
        return out_of_range(fault, "a set of extended attributes outside of their table is named", table)
    result = read_entry(volume, table + TABLE_HEADER, index, <char *> entry, SET_BYTES, fault)
    if result < 0:
        return result
    into.run = le64(header)
    into.attributes = le32(entry + 8)
    if le32(entry + 12) > XATTRS_MOST * 2 or into.attributes > XATTRS_MOST:
        return out_of_range(fault, "extended attributes are over the limit", table)
    return aim(volume, into, le64(entry), &into.at, fault)


cdef int aim(Volume volume, const Set *found, uint64_t reference, Cursor *at, Fault *fault) noexcept nogil:
    cdef uint64_t table = volume.super.xattr_table
    if found.run > table or reference >> 16 > table - found.run:
        return out_of_range(fault, "extended attributes outside of their table are named", table)
    at.block, at.end, at.offset = found.run + (reference >> 16), table, reference & 0xFFFF
    return 0


cdef bytes take(Volume volume, Cursor *at, uint32_t length, uint32_t *budget):
    cdef Fault fault
    cdef int result
    if length > budget[0]:
        out_of_range(&fault, "extended attributes are over the limit", at.block)
        raise_fault(&fault)
    budget[0] -= length
    cdef bytes out = PyBytes_FromStringAndSize(NULL, length)
    cdef char *into = PyBytes_AS_STRING(out)
    with nogil:
        result = read_metadata(volume, at, into, length, &fault)
    if result < 0:
        raise_fault(&fault)
    return out


cdef bytes take_value(Volume volume, Set *found, bint is_elsewhere, uint32_t *budget):
    cdef Cursor elsewhere
    cdef Fault fault
    cdef bytes length = take(volume, &found.at, 4, budget)
    if not is_elsewhere:
        return take(volume, &found.at, le32(length), budget)
    cdef bytes reference = take(volume, &found.at, 8, budget)
    if le32(length) != 8:
        corrupt(&fault, "a reference to an extended attribute's value is no reference", found.at.block)
        raise_fault(&fault)
    if aim(volume, found, le64(reference), &elsewhere, &fault) < 0:
        raise_fault(&fault)
    length = take(volume, &elsewhere, 4, budget)
    return take(volume, &elsewhere, le32(length), budget)


cdef dict read_xattrs(Volume volume, uint32_t index):
    """Names with their prefixes, and values."""
    cdef Set found
    cdef Fault fault
    cdef uint32_t attribute, kind, budget = 2 * XATTRS_MOST
    cdef bytes header
    cdef int result
    if index == NO_XATTRS:
        return {}
    with nogil:
        result = find_set(volume, index, &found, &fault)
    if result < 0:
        raise_fault(&fault)
    attributes = {}
    for attribute in range(found.attributes):
        header = take(volume, &found.at, 4, &budget)
        kind = le16(header)
        if kind & ~<uint32_t> OUT_OF_LINE >= <uint32_t> len(PREFIXES):
            unsupported(&fault, "an extended attribute of an unknown kind", found.at.block)
            raise_fault(&fault)
        name = PREFIXES[kind & ~OUT_OF_LINE] + take(volume, &found.at, le16(<const unsigned char *> header + 2), &budget)
        attributes[name] = take_value(volume, &found, (kind & OUT_OF_LINE) != 0, &budget)
    return attributes
