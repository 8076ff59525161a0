"""A file inside an image, as an image: any layer or pump reads it like any other, without the GIL."""

from storage.image import Image

class SquashfsFile(Image):
    """A file inside an image; made by `Squashfs.open_file`, and good for as long as it is kept.

    `read_at` and `read_at_now` also raise CorruptError, UnsupportedError or OutOfRangeError when the image is damaged
    where they read; bytes are in memory, for `read_at_now`, once they were decompressed and as long as the cache has
    them.
    """

    @property
    def layout(self) -> tuple[int, int, int, int]:
        """Where the image has it: offset and length of its blocks, and of the fragment that its end is in.

        Lengths are as compressed; 0 where there is none.
        """
