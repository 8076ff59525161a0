# Extended attributes of one inode.
from libc.stdint cimport uint32_t

from storage.squashfs.volume cimport Volume

cdef dict read_xattrs(Volume volume, uint32_t index)
