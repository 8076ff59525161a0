# cython: language_level=3
"""squashfs 4.0 on disk: the superblock and the fixed parts of the fourteen inode types; nothing of it is for Python.

All numbers are little-endian. The superblock, whose `root` is a reference (metadata block in the inode table << 16 |
offset in the block, decompressed), and whose tables are offsets in the image or all ones where there is none:

      0 magic "hsqs"      4 inodes       8 made         12 block_size
     16 fragments        20 compressor  22 block_log    24 flags       26 ids   28 major   30 minor
     32 root             40 bytes_used  48 id_table     56 xattr_table
     64 inode_table      72 directory_table             80 fragment_table       88 export_table
"""
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from storage.squashfs.fault cimport Fault, corrupt, out_of_range, unsupported

cdef uint64_t NO_TABLE = 0xFFFFFFFFFFFFFFFF
cdef uint32_t MAGIC = 0x73717368  # "hsqs"


cdef int check_tables(Superblock *it, Fault *fault) noexcept nogil:
    # In the order in which every writer lays them out; the kernel asks for the same.
    cdef uint64_t[4] behind
    cdef uint64_t table
    behind[0], behind[1], behind[2], behind[3] = it.fragment_table, it.export_table, it.id_table, it.xattr_table
    if it.inode_table < SUPERBLOCK_BYTES:
        return corrupt(fault, "the inode table is over the superblock", 64)
    if it.inode_table >= it.directory_table:
        return corrupt(fault, "the directory table is not behind the inode table", 72)
    it.directory_end = it.bytes_used
    for table in behind:
        if table == NO_TABLE:
            continue
        if table >= it.bytes_used:
            return out_of_range(fault, "a table leaves the image", table)
        if table < it.directory_table:  # equal where no folder has entries
            return corrupt(fault, "a table is before the directory table", table)
        it.directory_end = min(it.directory_end, table)
    if it.directory_table >= it.bytes_used:
        return out_of_range(fault, "the directory table leaves the image", it.directory_table)
    if it.id_table == NO_TABLE or it.ids == 0:
        return corrupt(fault, "there is no table of owners", 48)
    return 0


cdef int parse_superblock(const unsigned char *at, uint64_t image_size, Superblock *into, Fault *fault) noexcept nogil:
    if le32(at) != MAGIC:
        return unsupported(fault, "no squashfs: the magic number is missing", 0)
    if le16(at + 28) != 4 or le16(at + 30) != 0:
        return unsupported(fault, "squashfs of another version than 4.0", 28)
    into.inodes, into.made, into.block_size, into.fragments = le32(at + 4), le32(at + 8), le32(at + 12), le32(at + 16)
    into.compressor, into.block_log = le16(at + 20), le16(at + 22)
    into.flags, into.ids = le16(at + 24), le16(at + 26)
    into.root, into.bytes_used = le64(at + 32), le64(at + 40)
    into.id_table, into.xattr_table = le64(at + 48), le64(at + 56)
    into.inode_table, into.directory_table = le64(at + 64), le64(at + 72)
    into.fragment_table, into.export_table = le64(at + 80), le64(at + 88)
    if into.compressor < GZIP or into.compressor > ZSTD:
        return unsupported(fault, "unknown compressor", 20)
    if into.block_size < BLOCK_LEAST or into.block_size > BLOCK_MOST:
        return out_of_range(fault, "block size outside of 4 KiB to 1 MiB", 12)
    if into.block_log > 20 or into.block_size != <uint32_t> 1 << into.block_log:
        return corrupt(fault, "block size and its logarithm differ", 22)
    if into.bytes_used > image_size:
        return out_of_range(fault, "the image was truncated: it has fewer bytes than its superblock says", 40)
    return check_tables(into, fault)


cdef size_t inode_bytes(uint16_t type) noexcept nogil:
    """Bytes of the fixed part, header and all; 0 for what is no type."""
    if type == DIRECTORY or type == FILE:
        return 32
    if type == SYMLINK or type == BLOCK_DEVICE or type == CHARACTER_DEVICE:
        return 24
    if type == FIFO or type == SOCKET:
        return 20
    if type == DIRECTORY + EXTENDED:
        return 40
    if type == FILE + EXTENDED:
        return 56
    if type == SYMLINK + EXTENDED:
        return 24  # its xattr index stands behind the target
    if type == BLOCK_DEVICE + EXTENDED or type == CHARACTER_DEVICE + EXTENDED:
        return 28
    if type == FIFO + EXTENDED or type == SOCKET + EXTENDED:
        return 24
    return 0


cdef void parse_basic(const unsigned char *at, Inode *into) noexcept nogil:
    #  header:   0 type  2 mode  4 uid  6 gid  8 mtime  12 number
    #  directory: 16 start  20 links  24 size (2)  26 offset (2)  28 parent
    #  file:      16 start  20 fragment  24 offset  28 size
    #  others:    16 links  20 target size, or device
    if into.kind == DIRECTORY:
        into.start, into.links, into.size = le32(at + 16), le32(at + 20), le16(at + 24)
        into.offset, into.parent = le16(at + 26), le32(at + 28)
    elif into.kind == FILE:
        into.start, into.fragment, into.offset, into.size = le32(at + 16), le32(at + 20), le32(at + 24), le32(at + 28)
        into.links = 1
    else:
        into.links = le32(at + 16)
        if into.kind == SYMLINK:
            into.size = le32(at + 20)
        elif into.kind == BLOCK_DEVICE or into.kind == CHARACTER_DEVICE:
            into.device = le32(at + 20)


cdef void parse_extended(const unsigned char *at, Inode *into) noexcept nogil:
    #  directory: 16 links  20 size  24 start  28 parent  32 indexes (2)  34 offset (2)  36 xattr
    #  file:      16 start (8)  24 size (8)  32 sparse (8)  40 links  44 fragment  48 offset  52 xattr
    #  devices:   16 links  20 device  24 xattr;  fifo, socket: 16 links  20 xattr
    if into.kind == DIRECTORY:
        into.links, into.size, into.start = le32(at + 16), le32(at + 20), le32(at + 24)
        into.parent, into.indexes = le32(at + 28), le16(at + 32)
        into.offset, into.xattr = le16(at + 34), le32(at + 36)
    elif into.kind == FILE:
        into.start, into.size, into.links = le64(at + 16), le64(at + 24), le32(at + 40)
        into.fragment, into.offset, into.xattr = le32(at + 44), le32(at + 48), le32(at + 52)
    else:
        into.links = le32(at + 16)
        if into.kind == SYMLINK:
            into.size = le32(at + 20)
        elif into.kind == BLOCK_DEVICE or into.kind == CHARACTER_DEVICE:
            into.device, into.xattr = le32(at + 20), le32(at + 24)
        else:
            into.xattr = le32(at + 20)


cdef int parse_inode(const unsigned char *at, Inode *into, uint64_t position, Fault *fault) noexcept nogil:
    """The fixed part, whose length is that of its type; `position` is what a fault is said to be at."""
    into.type, into.mode = le16(at), le16(at + 2)
    into.uid_index, into.gid_index = le16(at + 4), le16(at + 6)
    into.made, into.number = le32(at + 8), le32(at + 12)
    into.parent = into.device = into.indexes = into.offset = 0
    into.size = into.start = 0
    into.fragment, into.xattr = NO_FRAGMENT, NO_XATTRS
    if into.type <= EXTENDED:
        into.kind = into.type
        parse_basic(at, into)
    else:
        into.kind = into.type - EXTENDED
        parse_extended(at, into)
    if into.mode & 0xF000:
        into.mode &= 0x0FFF  # some writers put the type's bits here too
    if into.kind == SYMLINK and into.size > TARGET_MOST:
        return out_of_range(fault, "a symlink's target is over the limit", position)
    return 0
