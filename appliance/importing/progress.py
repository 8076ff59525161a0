"""A bar for what takes long, on standard error."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

PATIENCE_SECONDS = 2.0  # what is over sooner needs no bar


class Bar:
    """Shows one step at a time, from two seconds after the first on."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
        self._progress = Progress(
            *columns, TransferSpeedColumn(), TimeRemainingColumn(), console=Console(stderr=True), transient=True
        )
        self._task = self._progress.add_task("")
        self._began = time.monotonic()
        self._is_shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_shown:
            self._progress.stop()

    def step(self, what: str, total: int | None) -> None:
        """The next step, of so many bytes where that is known."""
        self._progress.remove_task(self._task)  # resetting it could not take back a total
        self._task = self._progress.add_task(what, total=total)

    def advance(self, count: int) -> None:
        """So many bytes more are done."""
        self._progress.advance(self._task, count)
        if not self._is_shown and time.monotonic() - self._began >= PATIENCE_SECONDS:
            self._is_shown = True
            self._progress.start()
