"""What storage raises: one error that carries the errno a protocol will answer with."""


class StorageError(Exception):
    """A read, write or open of an image failed.

    `errno` is the positive number from errno.h that says how: ENXIO for a range outside the image, EROFS for a
    write to a read-only one, EIO for a truncated file, or what the kernel said.
    """

    def __init__(self, message: str, errno: int) -> None:
        super().__init__(message)
        self.errno = errno
