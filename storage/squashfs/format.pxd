# squashfs 4.0 on disk: structs as they are used here, numbers as they are written there (little-endian).
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from storage.squashfs.fault cimport Fault

cdef enum:
    SUPERBLOCK_BYTES = 96
    METADATA_BYTES = 8192       # a metadata block, decompressed; only the last of a table is shorter
    METADATA_HEADER = 2         # its length, before it
    INODE_MOST = 56             # bytes of the longest fixed part of an inode: the extended file
    BLOCK_LEAST = 4096          # a data block: powers of two between these
    BLOCK_MOST = 1048576
    NAME_MOST = 256             # bytes of a name in a directory
    RUN_MOST = 256              # entries under one directory header
    TARGET_MOST = 65536         # bytes of a symlink's target: mksquashfs writes no longer one
    BLOCKS_MOST = 16777216      # blocks of one file: 2 TiB of 128 KiB; the list is 64 MiB of memory by then
    ENTRIES_MOST = 2097152      # entries of one directory in one list: about 400 MB as Python objects
    XATTRS_MOST = 65536         # bytes of all names and values of an inode, as Linux has it for one value
    LINKS_MOST = 40             # symlinks followed in one lookup, as Linux has it
    DEPTH_MOST = 2048           # folders below each other: what PATH_MAX allows with one-letter names

cdef enum Compressor:
    GZIP = 1
    LZMA = 2
    LZO = 3
    XZ = 4
    LZ4 = 5
    ZSTD = 6

cdef enum InodeType:
    DIRECTORY = 1
    FILE = 2
    SYMLINK = 3
    BLOCK_DEVICE = 4
    CHARACTER_DEVICE = 5
    FIFO = 6
    SOCKET = 7
    EXTENDED = 7                # added to any of these: the extended kind of it

cdef enum:
    HAS_OPTIONS = 0x400         # flag: a metadata block of compressor options follows the superblock
    STORED_BLOCK = 0x1000000    # bit of a data block's size: not compressed
    STORED_METADATA = 0x8000    # bit of a metadata block's length: not compressed
    NO_FRAGMENT = 0xFFFFFFFF
    NO_XATTRS = 0xFFFFFFFF

cdef uint64_t NO_TABLE

cdef struct Superblock:
    uint32_t inodes
    uint32_t made               # seconds since 1970
    uint32_t block_size
    uint32_t fragments
    uint16_t compressor
    uint16_t block_log
    uint16_t flags
    uint16_t ids
    uint64_t root               # reference of the root folder's inode
    uint64_t bytes_used
    uint64_t id_table
    uint64_t xattr_table
    uint64_t inode_table
    uint64_t directory_table
    uint64_t fragment_table
    uint64_t export_table
    uint64_t directory_end      # the first table behind the directories'

# A place in a table of metadata blocks, which lies before `end`.
cdef struct Cursor:
    uint64_t block              # where the block's header is in the image
    uint64_t end
    uint32_t offset             # in the block, decompressed

cdef struct Inode:
    uint64_t reference
    uint16_t type               # one of the fourteen
    uint16_t kind               # its basic type: DIRECTORY to SOCKET
    uint16_t mode               # permissions only
    uint16_t uid_index
    uint16_t gid_index
    uint16_t indexes            # of a directory: how many index entries follow
    uint32_t made               # mtime, seconds since 1970
    uint32_t number
    uint32_t links
    uint32_t parent             # of a directory: number of the inode above
    uint32_t device
    uint32_t fragment           # of a file: whose end is in that fragment
    uint32_t offset             # in the fragment, or of a listing in its first metadata block
    uint32_t xattr
    uint64_t size               # of a file's bytes, a target, a listing
    uint64_t start              # of a file's first block; of a listing's first block in the directory table
    Cursor rest                 # what follows the fixed part: block sizes, target, directory index

cdef inline uint16_t le16(const unsigned char *at) noexcept nogil:
    return <uint16_t> (at[0] | at[1] << 8)

cdef inline uint32_t le32(const unsigned char *at) noexcept nogil:
    return <uint32_t> at[0] | <uint32_t> at[1] << 8 | <uint32_t> at[2] << 16 | <uint32_t> at[3] << 24

cdef inline uint64_t le64(const unsigned char *at) noexcept nogil:
    return <uint64_t> le32(at) | <uint64_t> le32(at + 4) << 32

cdef int parse_superblock(const unsigned char *at, uint64_t image_size, Superblock *into, Fault *fault) noexcept nogil
cdef size_t inode_bytes(uint16_t type) noexcept nogil
cdef int parse_inode(const unsigned char *at, Inode *into, uint64_t position, Fault *fault) noexcept nogil
