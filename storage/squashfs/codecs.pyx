# cython: language_level=3
"""The six compressors of squashfs, each by the C library made for it, without the GIL.

Decompressors are kept for each thread, since making one costs as much as a small block. All are told how much room
there is and none ever writes more, so a bomb is no more than an error. Left out: compressing.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport EIO, ENOMEM, EOPNOTSUPP
from libc.stdint cimport uint16_t, uint32_t, uint64_t, uint8_t
from libc.stdlib cimport calloc, free, malloc

import errno
import os

from storage.errors import StorageError
from storage.squashfs.format cimport BLOCK_MOST, GZIP, LZ4, LZMA, LZO, XZ, ZSTD, le32
from storage.threads cimport pthread_getspecific, pthread_key_create, pthread_key_t, pthread_setspecific

cdef extern from "<libdeflate.h>" nogil:
    struct libdeflate_decompressor:
        pass
    int LIBDEFLATE_SUCCESS
    libdeflate_decompressor *libdeflate_alloc_decompressor()
    void libdeflate_free_decompressor(libdeflate_decompressor *it)
    int libdeflate_zlib_decompress(
        libdeflate_decompressor *it, const void *packed, size_t length, void *into, size_t room, size_t *got
    )
    uint32_t libdeflate_crc32(uint32_t before, const void *data, size_t length)

cdef extern from "<lzma.h>" nogil:
    ctypedef struct lzma_stream:
        const uint8_t *next_in
        size_t avail_in
        uint8_t *next_out
        size_t avail_out
    ctypedef int lzma_ret
    lzma_ret LZMA_OK
    lzma_ret LZMA_STREAM_END
    lzma_ret LZMA_MEM_ERROR
    lzma_ret LZMA_MEMLIMIT_ERROR
    lzma_ret LZMA_OPTIONS_ERROR
    int LZMA_FINISH
    uint32_t LZMA_IGNORE_CHECK
    lzma_ret lzma_stream_decoder(lzma_stream *it, uint64_t memory_most, uint32_t flags)
    lzma_ret lzma_alone_decoder(lzma_stream *it, uint64_t memory_most)
    lzma_ret lzma_code(lzma_stream *it, int action)
    void lzma_end(lzma_stream *it)

cdef extern from "<zstd.h>" nogil:
    struct ZSTD_DCtx:
        pass
    ZSTD_DCtx *ZSTD_createDCtx()
    size_t ZSTD_freeDCtx(ZSTD_DCtx *it)
    size_t ZSTD_decompressDCtx(ZSTD_DCtx *it, void *into, size_t room, const void *packed, size_t length)
    unsigned ZSTD_isError(size_t result)

cdef extern from "<lz4.h>" nogil:
    int LZ4_decompress_safe(const char *packed, char *into, int length, int room)

cdef extern from "<lzo/lzo1x.h>" nogil:
    int LZO_E_OK
    ctypedef unsigned long lzo_uint
    int lzo_init()
    int lzo1x_decompress_safe(const unsigned char *packed, lzo_uint length, unsigned char *into, lzo_uint *got, void *unused)

cdef uint64_t LZMA_MEMORY = 4 << 20  # bytes: a dictionary is no larger than the largest block, 1 MiB, plus liblzma's own

cdef enum:
    XZ_FOOTER = 12      # bytes; its header has as many
    XZ_LEAST = 32       # of a stream without any block
    XZ_CRC32 = 1        # the check's number in the header

cdef pthread_key_t key


cdef void free_tools(void *kept) noexcept nogil:
    cdef int depth
    cdef Tools *tools = <Tools *> kept
    if tools.deflate != NULL:
        libdeflate_free_decompressor(<libdeflate_decompressor *> tools.deflate)
    if tools.lzma != NULL:
        lzma_end(<lzma_stream *> tools.lzma)
    ZSTD_freeDCtx(<ZSTD_DCtx *> tools.zstd)
    free(tools.lzma)
    for depth in range(NESTED_MOST):
        free(tools.packed[depth])
    free(tools)


cdef Tools *tools_of_thread() noexcept nogil:
    cdef Tools *tools = <Tools *> pthread_getspecific(key)
    if tools != NULL:
        return tools
    tools = <Tools *> calloc(1, sizeof(Tools))
    if tools != NULL and pthread_setspecific(key, tools) != 0:
        free(tools)
        return NULL
    return tools


cdef char *take_room(Tools *tools) noexcept nogil:
    cdef char **room = &tools.packed[tools.depth]
    if tools.depth == NESTED_MOST:
        return NULL
    if room[0] == NULL:
        room[0] = <char *> malloc(PACKED_ROOM)  # pages are only taken as far as blocks reach
    if room[0] != NULL:
        tools.depth += 1
    return room[0]


cdef void give_room(Tools *tools) noexcept nogil:
    tools.depth -= 1


cdef ssize_t unpack_gzip(Tools *tools, const char *packed, size_t length, char *into, size_t room) noexcept nogil:
    cdef size_t got = 0
    if tools.deflate == NULL:
        tools.deflate = libdeflate_alloc_decompressor()
        if tools.deflate == NULL:
            return -ENOMEM
    cdef int result = libdeflate_zlib_decompress(
        <libdeflate_decompressor *> tools.deflate, packed, length, into, room, &got
    )
    return <ssize_t> got if result == LIBDEFLATE_SUCCESS else -EIO


cdef const unsigned char *crc_of(const char *packed, size_t length) noexcept nogil:
    # Where a stream of one block, as every writer makes it, has the block's CRC32; NULL if it is another kind.
    #   0 magic  6 flags (0, check)  12 block .. check | index: 0, 1, .. its CRC (4) | footer: CRC (4) size (4) flags "YZ"
    cdef const unsigned char *start = <const unsigned char *> packed
    cdef uint64_t behind
    if length < XZ_LEAST or start[7] != XZ_CRC32:
        return NULL
    behind = (<uint64_t> le32(start + length - 8) + 1) * 4 + XZ_FOOTER
    if behind > length - XZ_FOOTER - 4 or start[length - behind] != 0 or start[length - behind + 1] != 1:
        return NULL
    return start + length - behind - 4


cdef ssize_t unpack_lzma(
    Tools *tools, bint is_xz, const char *packed, size_t length, char *into, size_t room
) noexcept nogil:
    # One stream object is used again and again: liblzma then keeps its dictionary's memory. Its CRC32 is checked here,
    # by libdeflate: liblzma 5.4 takes a twentieth of all its time for that.
    cdef lzma_stream *stream = <lzma_stream *> tools.lzma
    cdef const unsigned char *crc = crc_of(packed, length) if is_xz else NULL
    cdef lzma_ret result
    if stream == NULL:
        tools.lzma = stream = <lzma_stream *> calloc(1, sizeof(lzma_stream))  # zeros: what LZMA_STREAM_INIT is
        if stream == NULL:
            return -ENOMEM
    if is_xz:
        result = lzma_stream_decoder(stream, LZMA_MEMORY, LZMA_IGNORE_CHECK if crc != NULL else 0)
    else:
        result = lzma_alone_decoder(stream, LZMA_MEMORY)
    if result != LZMA_OK:
        return -ENOMEM
    stream.next_in, stream.avail_in = <const uint8_t *> packed, length
    stream.next_out, stream.avail_out = <uint8_t *> into, room
    result = lzma_code(stream, LZMA_FINISH)
    if result == LZMA_MEM_ERROR:
        return -ENOMEM
    if result == LZMA_MEMLIMIT_ERROR or result == LZMA_OPTIONS_ERROR:
        return -EOPNOTSUPP
    if result != LZMA_STREAM_END or (is_xz and stream.avail_in):
        return -EIO
    room -= stream.avail_out
    return -EIO if crc != NULL and libdeflate_crc32(0, into, room) != le32(crc) else <ssize_t> room


cdef ssize_t unpack_zstd(Tools *tools, const char *packed, size_t length, char *into, size_t room) noexcept nogil:
    cdef size_t got
    if tools.zstd == NULL:
        tools.zstd = ZSTD_createDCtx()
        if tools.zstd == NULL:
            return -ENOMEM
    got = ZSTD_decompressDCtx(<ZSTD_DCtx *> tools.zstd, into, room, packed, length)
    return -EIO if ZSTD_isError(got) else <ssize_t> got


cdef ssize_t unpack_lz4(const char *packed, size_t length, char *into, size_t room) noexcept nogil:
    cdef int got = LZ4_decompress_safe(packed, into, <int> length, <int> room)
    return got if got >= 0 else -EIO


cdef ssize_t unpack_lzo(const char *packed, size_t length, char *into, size_t room) noexcept nogil:
    cdef lzo_uint got = room
    cdef int result = lzo1x_decompress_safe(
        <const unsigned char *> packed, length, <unsigned char *> into, &got, NULL
    )
    return <ssize_t> got if result == LZO_E_OK else -EIO


cdef ssize_t unpack(
    Tools *tools, uint16_t compressor, const char *packed, size_t length, char *into, size_t room
) noexcept nogil:
    if length == 0:
        return -EIO  # libzstd would make nothing of it and call that good
    if compressor == GZIP:
        return unpack_gzip(tools, packed, length, into, room)
    if compressor == XZ or compressor == LZMA:
        return unpack_lzma(tools, compressor == XZ, packed, length, into, room)
    if compressor == ZSTD:
        return unpack_zstd(tools, packed, length, into, room)
    if compressor == LZ4:
        return unpack_lz4(packed, length, into, room)
    if compressor == LZO:
        return unpack_lzo(packed, length, into, room)
    return -EOPNOTSUPP


def unpack_block(int compressor, bytes packed not None, size_t room):
    cdef Tools *tools = tools_of_thread()
    cdef const char *start = PyBytes_AS_STRING(packed)
    cdef size_t length = len(packed)
    cdef ssize_t got
    if not GZIP <= compressor <= ZSTD:
        raise ValueError(f"no block of squashfs is compressed by number {compressor}")
    if room > BLOCK_MOST or length > PACKED_ROOM:
        raise ValueError(f"a block has at most {BLOCK_MOST} bytes")
    if tools == NULL:
        raise MemoryError
    cdef bytes out = PyBytes_FromStringAndSize(NULL, room)
    cdef char *into = PyBytes_AS_STRING(out)
    with nogil:
        got = unpack(tools, <uint16_t> compressor, start, length, into, room)
    if got < 0:
        raise StorageError(f"a compressed block can't be read: {os.strerror(-got)}", -got)
    return out[:got]


if pthread_key_create(&key, free_tools) != 0:
    raise OSError(errno.EAGAIN, "no room for one more thread-specific value")
if lzo_init() != LZO_E_OK:
    raise ImportError("liblzo2 was built for another machine")
