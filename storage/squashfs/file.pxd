# A file inside an image, as an image: what pumps read without the GIL.
from libc.stdint cimport uint32_t, uint64_t

from storage.image cimport Image
from storage.squashfs.fault cimport Fault
from storage.squashfs.format cimport Inode
from storage.squashfs.volume cimport Volume

cdef enum Way:
    NOW     # what memory has, or -EAGAIN
    KEEP    # what was decompressed stays in the cache
    ONCE    # whole blocks are decompressed to where they are wanted: nobody will ask again

cdef class SquashfsFile(Image):
    cdef Volume volume
    cdef uint64_t blocks            # whole ones, and the last if it is no fragment
    cdef uint32_t *sizes            # of each as it is in the image, with the bit for stored ones; 0 is a hole
    cdef uint64_t *starts           # of every STRIDEth
    cdef uint64_t tail              # bytes at the end that are in a fragment
    cdef uint64_t fragment_start
    cdef uint32_t fragment_size
    cdef uint32_t fragment_offset
    cdef ssize_t fetch(self, char *into, size_t length, uint64_t offset, Way way, Fault *fault) noexcept nogil

cdef SquashfsFile make_file(Volume volume, uint64_t reference, Inode *inode)
# Of a file that has nothing but its volume: 0 and its inode, which may be no file's, or a fault's negative errno.
cdef int load_file(SquashfsFile file, uint64_t reference, Inode *inode, Fault *fault) noexcept nogil
