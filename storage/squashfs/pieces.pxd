# The bytes of many files of an image, one file after the other.
from storage.squashfs.volume cimport Volume

cdef object read_pieces(Volume volume, references, int threads)
