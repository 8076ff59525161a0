"""Files that are still being copied, told from whole ones without waiting for anything.

The kernel knows who has a file open for writing, and says so to whoever asks for a lease on it (fcntl(2), F_SETLEASE):
cp, scp and rsync --inplace keep theirs open until the last byte. Where it can't say, as on NFS or for other users'
files, one that was written to in these seconds is taken as unfinished.
"""

import errno
import fcntl
import os
import signal
import stat
import time

SETTLE_SECONDS = 3.0  # without a change: longer than a copy over a network is silent

WHY = "is still being copied: it is served once that is over"


def is_arriving(descriptor: int) -> bool:
    """Whether an open file is one that somebody still writes to. Raises: OSError."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        return False
    has_writer = ask_for_writers(descriptor)
    return is_fresh(found.st_mtime, time.time()) if has_writer is None else has_writer


def ask_for_writers(descriptor: int) -> bool | None:
    """Whether somebody has this open file open for writing; None where the kernel can't say."""
    try:
        # Who opens it for writing in these microseconds waits for us, and we are sent a signal: SIGIO would end us.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as failure:
        return True if failure.errno == errno.EAGAIN else None
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def is_fresh(changed: float, now: float) -> bool:
    """Whether a file that was changed at `changed` may go on changing; a time to come is another clock's: no."""
    return 0 <= now - changed < SETTLE_SECONDS
