"""Child processes of the lab: started in a namespace, ended by their own pid, and gone when the lab dies."""

import asyncio
import contextlib
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence
from typing import IO

GRACE = 5.0  # seconds a process gets to end by itself before it is killed


async def start(
    command: Sequence[str],
    *,
    namespace: str | None = None,
    stdout: int | IO[bytes] = DEVNULL,
    stderr: int | IO[bytes] = DEVNULL,
) -> Process:
    """Start `command`, in a network namespace if one is named.

    A session of its own keeps the terminal's Ctrl-C from it, so that the lab ends things in order; the kernel
    kills it should the lab itself be killed.
    """
    enter = ["ip", "netns", "exec", namespace] if namespace else []
    argv = [*enter, "setpriv", "--pdeathsig", "KILL", "--", *command]
    return await asyncio.create_subprocess_exec(
        *argv, stdin=DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True
    )


async def stop(process: Process) -> None:
    """End `process` if it still runs: politely, then by force; returns when it is gone."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(GRACE):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
