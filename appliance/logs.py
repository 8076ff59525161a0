"""Logging for the whole process: structlog, one line per event; JSON unless standard error is a terminal."""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

OTHER_LIBRARIES = logging.WARNING  # aiohttp's access lines repeat our own, asyncio's debug lines help nobody here


def configure(*, debug: bool = False, stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's logs to `stream`, standard error by default.

    `debug` shows debug lines too: malformed packets, small requests.
    """
    stream = stream or sys.stderr
    threshold = logging.DEBUG if debug else logging.INFO
    as_terminal = stream.isatty()
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
