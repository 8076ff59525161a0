# The six compressors of squashfs, each by the C library made for it.
from libc.stdint cimport uint16_t, uint32_t

cdef enum:
    PACKED_ROOM = 1048576   # bytes: no block is larger packed than unpacked, or it would have been stored
    NESTED_MOST = 4         # images inside images that are read at once

# What a thread keeps from block to block: made on its first block, freed when it ends.
cdef struct Tools:
    char *packed[NESTED_MOST]     # room for `PACKED_ROOM` bytes as they are in the image, for each image inside an image
    uint32_t depth      # of these, how many are in use
    void *deflate
    void *zstd
    void *lzma

cdef Tools *tools_of_thread() noexcept nogil  # NULL when there is no memory
cdef char *take_room(Tools *tools) noexcept nogil  # for one packed block; NULL: images nested too deeply, or no memory
cdef void give_room(Tools *tools) noexcept nogil

# How many bytes were written into the `room` bytes at `into`; -EIO: this is not what the compressor makes, or it is
# more than there is room for; -EOPNOTSUPP: it needs more memory than a squashfs block can; -ENOMEM.
cdef ssize_t unpack(
    Tools *tools, uint16_t compressor, const char *packed, size_t length, char *into, size_t room
) noexcept nogil
