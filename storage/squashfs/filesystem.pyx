# cython: language_level=3
"""An image as a file system: names, folders, links, and its files as images.

Wherever something is named, a path (bytes, or text by the file system's encoding) or a reference will do; the latter
come with entries and cost no lookup. Symlinks are followed inside the image only: its root is the top of every path.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t, uint64_t

import errno
import os
import struct

from storage.image cimport Image
from storage.squashfs.cache cimport Cache
from storage.squashfs.directories cimport Entry as Found
from storage.squashfs.directories cimport Listing, find_entry, next_entry, start_listing
from storage.squashfs.fault cimport Fault, corrupt, out_of_range, raise_fault, unsupported
from storage.squashfs.file cimport make_file
from storage.squashfs.format cimport (
    DEPTH_MOST,
    DIRECTORY,
    ENTRIES_MOST,
    EXTENDED,
    HAS_OPTIONS,
    LINKS_MOST,
    LZ4,
    METADATA_BYTES,
    METADATA_HEADER,
    NAME_MOST,
    NO_TABLE,
    SUPERBLOCK_BYTES,
    SYMLINK,
    Cursor,
    Inode,
    le32,
    le64,
)
from storage.squashfs.pieces cimport read_pieces
from storage.squashfs.volume cimport Volume, open_volume, read_entry, read_inode, read_metadata, read_owner
from storage.squashfs.xattrs cimport read_xattrs

from storage.squashfs.values import Compressor, Entry, Kind, Status, Summary

OPTIONS = {  # of each compressor: how they lie behind the superblock, and their names
    Compressor.GZIP: ("<IHH", ("level", "window", "strategies")),
    Compressor.LZO: ("<II", ("algorithm", "level")),
    Compressor.XZ: ("<II", ("dictionary", "filters")),
    Compressor.LZ4: ("<II", ("version", "flags")),
    Compressor.ZSTD: ("<I", ("level",)),
}
KINDS = (None, *Kind)


cdef object require(int result, const Fault *fault):
    if result < 0:
        raise_fault(fault)


cdef object refuse(int number, path):
    raise OSError(number, os.strerror(number), path)


cdef enum:
    BATCH = 32  # entries read for Python at once: giving up the GIL for each would cost more than reading it


cdef class Scan:
    """The entries of one directory, one after the other."""

    cdef Volume volume
    cdef Listing listing
    cdef Found[BATCH] batch
    cdef int read
    cdef int taken
    cdef Fault fault
    cdef int result  # of the read behind the last in the batch: 1, 0 at the end, or negative

    def __iter__(self):
        return self

    def __next__(self):
        cdef Found *found
        if self.taken == self.read and self.result == 1:
            self._fill()
        if self.taken == self.read:
            require(self.result, &self.fault)
            raise StopIteration
        found = &self.batch[self.taken]
        self.taken += 1
        return Entry(found.name[:found.length], KINDS[found.kind], found.reference)

    cdef void _fill(self):
        self.read = self.taken = 0
        with nogil:
            while self.read < BATCH and self.result == 1:
                self.result = next_entry(self.volume, &self.listing, &self.batch[self.read], &self.fault)
                self.read += self.result == 1


cdef Scan scan(Volume volume, const Inode *directory):
    cdef Scan made = Scan.__new__(Scan)
    made.volume = volume
    made.result = 1
    start_listing(volume, directory, &made.listing)
    return made


cdef bytes read_target(Volume volume, const Inode *link):
    cdef bytes target = PyBytes_FromStringAndSize(NULL, link.size)
    cdef char *into = PyBytes_AS_STRING(target)
    cdef Cursor at = link.rest
    cdef Fault fault
    cdef int result
    with nogil:
        result = read_metadata(volume, &at, into, link.size, &fault)
    require(result, &fault)
    return target


cdef uint32_t xattr_index(Volume volume, const Inode *inode) except? 0:
    # An extended symlink has it behind its target, all others in their fixed part.
    cdef unsigned char[4] index
    cdef Cursor at = inode.rest
    cdef Fault fault
    cdef int result
    if inode.type != SYMLINK + EXTENDED:
        return inode.xattr
    with nogil:
        result = read_metadata(volume, &at, NULL, inode.size, &fault)
        if result == 0:
            result = read_metadata(volume, &at, <char *> index, 4, &fault)
    require(result, &fault)
    return le32(index)


cdef class Squashfs:
    """An image, opened; made by `open`."""

    cdef Volume volume
    cdef readonly Image image
    cdef readonly object summary

    def __init__(self):
        raise TypeError("an image is opened by storage.squashfs.open")

    @property
    def blocks(self):
        return self.volume.blocks

    @property
    def metadata(self):
        return self.volume.metadata

    @property
    def root(self):
        return self.volume.super.root

    def lookup(self, path, *, bint follow=True):
        cdef Inode inode
        if isinstance(path, int):
            return path
        above = []  # the references of the folders on the way; the root is above itself
        here = self.volume.super.root
        left = os.fsencode(path).split(b"/")[::-1]
        links = 0
        while left:
            name = left.pop()
            self._load(here, &inode)
            if inode.kind != DIRECTORY:
                refuse(errno.ENOTDIR, path)
            if name == b"..":
                here = above.pop() if above else here
            elif name not in (b"", b"."):
                reference = self._step(&inode, name, path)
                self._load(reference, &inode)
                if inode.kind == SYMLINK and (left or follow):
                    links += 1
                    if links > LINKS_MOST:
                        refuse(errno.ELOOP, path)
                    target = read_target(self.volume, &inode)
                    if target.startswith(b"/"):
                        here, above = self.volume.super.root, []
                    left += target.split(b"/")[::-1]
                else:
                    above.append(here)
                    here = reference
        return here

    cdef object _step(self, const Inode *directory, bytes name, path):
        cdef const char *wanted = PyBytes_AS_STRING(name)
        cdef size_t length = len(name)
        cdef Found found
        cdef Fault fault
        cdef int result
        if length > NAME_MOST:
            refuse(errno.ENAMETOOLONG, path)
        with nogil:
            result = find_entry(self.volume, directory, wanted, length, &found, &fault)
        require(result, &fault)
        if result == 0:
            refuse(errno.ENOENT, path)
        return found.reference

    cdef object _load(self, uint64_t reference, Inode *into):
        cdef Fault fault
        cdef int result
        with nogil:
            result = read_inode(self.volume, reference, into, &fault)
        require(result, &fault)

    def find_number(self, uint32_t number):
        cdef unsigned char[8] entry
        cdef Fault fault
        cdef int result
        if self.volume.super.export_table == NO_TABLE:
            refuse(errno.EOPNOTSUPP, None)
        if number == 0 or number > self.volume.super.inodes:
            refuse(errno.ENOENT, None)
        with nogil:
            result = read_entry(self.volume, self.volume.super.export_table, number - 1, <char *> entry, 8, &fault)
        require(result, &fault)
        return le64(entry)

    def status(self, at):
        cdef Inode inode
        cdef uint32_t uid, gid
        cdef Fault fault
        cdef int result
        cdef uint64_t reference = self.lookup(at)
        with nogil:
            result = read_inode(self.volume, reference, &inode, &fault)
            if result == 0:
                result = read_owner(self.volume, inode.uid_index, &uid, &fault)
            if result == 0:
                result = read_owner(self.volume, inode.gid_index, &gid, &fault)
        require(result, &fault)
        return Status(
            kind=KINDS[inode.kind],
            reference=inode.reference,
            number=inode.number,
            mode=inode.mode,
            uid=uid,
            gid=gid,
            made=inode.made,
            links=inode.links,
            size=inode.size,
            device=(inode.device >> 8 & 0xFFF, inode.device & 0xFF | inode.device >> 12 & 0xFFF00),
        )

    def scan(self, at):
        cdef Inode inode
        self._load(self.lookup(at), &inode)
        if inode.kind != DIRECTORY:
            refuse(errno.ENOTDIR, at)
        return scan(self.volume, &inode)

    def listdir(self, at):
        cdef Fault fault
        entries = []
        for entry in self.scan(at):
            if len(entries) == ENTRIES_MOST:
                out_of_range(&fault, "a directory has more entries than the limit", self.volume.super.directory_table)
                raise_fault(&fault)
            entries.append(entry)
        return entries

    def walk(self, at=b"/"):
        cdef Inode inode
        cdef uint64_t listed = 0
        cdef uint64_t listed_most = listings_most(self.volume)
        seen = set()
        ahead = [(b"", self.lookup(at))]
        while ahead:
            prefix, reference = ahead.pop()
            self._load(reference, &inode)
            listed += inode.size
            self._check_walk(reference in seen, listed > listed_most, prefix.count(b"/"))
            seen.add(reference)
            if inode.kind != DIRECTORY:
                self._refuse_step(at, prefix)
            below = []
            for entry in scan(self.volume, &inode):
                path = prefix + entry.name
                yield path, entry
                if entry.kind == Kind.DIRECTORY:
                    below.append((path + b"/", entry.reference))
            ahead += below[::-1]

    cdef object _refuse_step(self, at, bytes prefix):
        cdef Fault fault
        if not prefix:
            refuse(errno.ENOTDIR, at)
        require(corrupt(&fault, "what an entry calls a directory is none", self.volume.super.inode_table), &fault)

    cdef object _check_walk(self, bint is_seen, bint is_over, size_t depth):
        cdef Fault fault
        cdef uint64_t place = self.volume.super.directory_table
        if is_seen:
            require(corrupt(&fault, "a directory lies in itself, or in two others", place), &fault)
        if is_over:
            require(corrupt(&fault, "directories share their listings", place), &fault)
        if depth > DEPTH_MOST:
            require(out_of_range(&fault, "directories lie deeper than the limit", place), &fault)

    def readlink(self, at):
        cdef Inode inode
        self._load(self.lookup(at, follow=False), &inode)
        if inode.kind != SYMLINK:
            refuse(errno.EINVAL, at)
        return read_target(self.volume, &inode)

    def xattrs(self, at):
        cdef Inode inode
        self._load(self.lookup(at), &inode)
        return read_xattrs(self.volume, xattr_index(self.volume, &inode))

    def open_file(self, at):
        cdef Inode inode
        file = make_file(self.volume, self.lookup(at), &inode)
        if file is None:
            refuse(errno.EISDIR if inode.kind == DIRECTORY else errno.EINVAL, at)
        return file

    def read_files(self, references, *, int threads=1):
        return read_pieces(self.volume, references, threads)


cdef uint64_t listings_most(Volume volume) noexcept nogil:
    # All listings together are no larger than the directory table, were each block of it as small as a block can be.
    cdef uint64_t packed = volume.super.directory_end - volume.super.directory_table
    return (packed // (METADATA_HEADER + 1) + 1) * METADATA_BYTES + <uint64_t> 3 * volume.super.inodes


cdef dict read_options(Volume volume):
    cdef Cursor at
    cdef Fault fault
    cdef int result
    cdef bytes options
    cdef char *into
    cdef size_t length
    if not volume.super.flags & HAS_OPTIONS or volume.super.compressor not in OPTIONS:
        return {}
    form, names = OPTIONS[volume.super.compressor]
    length = struct.calcsize(form)
    options = PyBytes_FromStringAndSize(NULL, length)
    into = PyBytes_AS_STRING(options)
    at.block, at.end, at.offset = SUPERBLOCK_BYTES, volume.super.inode_table, 0
    with nogil:
        result = read_metadata(volume, &at, into, length, &fault)
    require(result, &fault)
    values = dict(zip(names, struct.unpack(form, options), strict=True))
    if volume.super.compressor == LZ4 and values["version"] != 1:
        require(unsupported(&fault, "an LZ4 format other than the block format", SUPERBLOCK_BYTES), &fault)
    return values


def open(Image image not None, *, Cache blocks not None, Cache metadata not None):
    cdef Squashfs opened = Squashfs.__new__(Squashfs)
    cdef Fault fault
    if blocks is metadata:
        raise ValueError("metadata needs a cache of its own")
    opened.image = image
    opened.volume = open_volume(image, blocks, metadata)
    opened.summary = Summary(
        compressor=Compressor(opened.volume.super.compressor),
        options=read_options(opened.volume),
        block_size=opened.volume.super.block_size,
        bytes_used=opened.volume.super.bytes_used,
        inodes=opened.volume.super.inodes,
        fragments=opened.volume.super.fragments,
        made=opened.volume.super.made,
        flags=opened.volume.super.flags,
    )
    if opened.status(opened.root).kind is not Kind.DIRECTORY:
        require(corrupt(&fault, "the root is no directory", opened.volume.super.inode_table), &fault)
    return opened
