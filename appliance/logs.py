"""Logging for the whole process: structlog, one line per event; JSON unless standard error is a terminal."""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

OTHER_LIBRARIES = logging.WARNING  # aiohttp's access lines repeat our own, asyncio's debug lines help nobody here


def configure_logs(*, stream: TextIO | None = None, level: str = "info", as_json: bool | None = None) -> None:
    """Send structlog's and the standard library's logs to `stream` (standard error by default).

    `level` is the lowest shown of ours: "debug" shows malformed packets too. `as_json` decides the form; when None,
    it is JSON unless the stream is a terminal.
    Raises: ValueError for an unknown level.
    """
    stream = stream or sys.stderr
    threshold = logging.getLevelNamesMapping().get(level.upper())
    if threshold is None:
        raise ValueError(f"log level {level!r} is none of debug, info, warning, error")
    as_terminal = stream.isatty() if as_json is None else not as_json
    stamp = structlog.processors.TimeStamper(fmt="%H:%M:%S" if as_terminal else "iso", utc=not as_terminal)
    shared: list[Processor] = [structlog.contextvars.merge_contextvars, structlog.processors.add_log_level, stamp]
    rendering: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=True)]
        if as_terminal
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(sort_keys=False)]
    )
    structlog.configure(
        processors=[*shared, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=stream),
        cache_logger_on_first_use=False,  # loggers are module globals: a cached one would outlive a change of stream
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, _name_library],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(threshold, OTHER_LIBRARIES), force=True)


def _name_library(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Say which library a foreign line is from."""
    event["library"] = event["_record"].name
    return event
