# Directory listings: read in order, or one name looked up by way of the index.
from libc.stdint cimport uint16_t, uint32_t, uint64_t

from storage.squashfs.fault cimport Fault
from storage.squashfs.format cimport NAME_MOST, Cursor, Inode
from storage.squashfs.volume cimport Volume

cdef struct Entry:
    uint64_t reference
    uint32_t number
    uint16_t kind
    uint16_t length
    char[NAME_MOST] name

# A place in a listing.
cdef struct Listing:
    Cursor at
    uint64_t left       # bytes of the listing behind the place
    uint32_t run        # entries left under the last header
    uint32_t block      # what it says of them: their metadata block in the inode table, ...
    uint32_t number     # ... and the inode number theirs are told from

cdef void start_listing(Volume volume, const Inode *directory, Listing *into) noexcept nogil
# 1 and the entry, 0 at the end, or a negative errno and the fault.
cdef int next_entry(Volume volume, Listing *listing, Entry *into, Fault *fault) noexcept nogil
# 1 and the entry, 0 if there is none of that name, or a negative errno and the fault.
cdef int find_entry(
    Volume volume, const Inode *directory, const char *name, size_t length, Entry *into, Fault *fault
) noexcept nogil
