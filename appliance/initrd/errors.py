"""The one error a user of the builder sees."""


class InitrdError(Exception):
    """The initramfs can't be built; the message names the thing that is wrong and its remedy, on one line."""
