# An open image: its superblock, its caches, and how metadata and tables are read.
from libc.stdint cimport uint32_t, uint64_t

from storage.image cimport Image
from storage.squashfs.cache cimport Block, Cache
from storage.squashfs.fault cimport Fault
from storage.squashfs.format cimport Cursor, Inode, Superblock

cdef class Volume:
    cdef Image base
    cdef Superblock super
    cdef Cache blocks       # data blocks and fragments
    cdef Cache metadata
    cdef uint64_t number    # of this image in the caches

# All return 0 or a negative errno with the fault filled in, and may wait for the disk.
cdef int read_base(Volume volume, char *into, size_t length, uint64_t offset, Fault *fault) noexcept nogil
cdef int hold_block(
    Volume volume, uint64_t position, uint32_t packed, uint32_t room, Block **block, Fault *fault
) noexcept nogil
# How many bytes were written into the `room` bytes at `into`; the cache has no part in it.
cdef ssize_t unpack_block(
    Volume volume, uint64_t position, uint32_t packed, char *into, uint32_t room, Fault *fault
) noexcept nogil
cdef int read_metadata(Volume volume, Cursor *at, char *into, size_t length, Fault *fault) noexcept nogil
cdef int skip_metadata(Volume volume, Cursor *at, uint64_t length, Fault *fault) noexcept nogil
cdef int read_entry(
    Volume volume, uint64_t table, uint64_t entry, char *into, size_t length, Fault *fault
) noexcept nogil
cdef int read_inode(Volume volume, uint64_t reference, Inode *into, Fault *fault) noexcept nogil
cdef int read_owner(Volume volume, uint32_t index, uint32_t *into, Fault *fault) noexcept nogil
cdef Volume open_volume(Image base, Cache blocks, Cache metadata)
