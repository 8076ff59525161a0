"""The log's set-up: JSON for machines, lines for people, other libraries' words in the same form."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from types import ModuleType

import pytest
import structlog

from appliance.logs import configure
from protocols.aoe import channel, endpoint
from protocols.arp import endpoint as arp


class Terminal(io.StringIO):
    """A stream that a human looks at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """The process-wide set-up is put back after each test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    # force=True in basicConfig closes what it removes: the handlers of pytest are none of its business
    root.handlers = []
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    """Every line as the JSON that it must be."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_events_are_lines_of_json() -> None:
    """Event, level, time in UTC, and the facts as keys."""
    stream = io.StringIO()
    configure(stream=stream)
    structlog.get_logger().bind(protocol="tftp").info("transfer_finished", bytes=42)
    (line,) = lines(stream)
    stamp = datetime.fromisoformat(str(line.pop("timestamp")))
    assert stamp.tzinfo == UTC
    assert line == {"event": "transfer_finished", "level": "info", "protocol": "tftp", "bytes": 42}


@pytest.mark.parametrize(("debug", "shown"), [(True, ["packet_refused"]), (False, [])])
def test_debug_lines_are_shown_on_demand(debug: bool, shown: list[str]) -> None:
    """Malformed packets are nobody's business by default."""
    stream = io.StringIO()
    configure(stream=stream, debug=debug)
    structlog.get_logger().debug("packet_refused")
    assert [line["event"] for line in lines(stream)] == shown


@pytest.mark.parametrize("module", [channel, endpoint, arp])
def test_loggers_that_modules_make_heed_it(module: ModuleType) -> None:
    """They are made before anybody said how to log."""
    stream = io.StringIO()
    configure(stream=stream)
    module.log.debug("frame_malformed")
    module.log.info("target_added")
    shown = [(line["event"], line["protocol"]) for line in lines(stream)]
    assert shown == [("target_added", module.__name__.split(".")[1])]


def test_a_traceback_is_one_line() -> None:
    """Our own bugs are logged whole, and log collectors read lines."""
    stream = io.StringIO()
    configure(stream=stream)
    try:
        raise AssertionError("ours")
    except AssertionError:
        structlog.get_logger().exception("service_failed")
    (line,) = lines(stream)
    assert "AssertionError: ours" in str(line["exception"])


def test_other_libraries_log_in_the_same_form() -> None:
    """With their name; their chatter below a warning is left out."""
    stream = io.StringIO()
    configure(stream=stream)
    logging.getLogger("aiohttp.access").info("GET /")
    logging.getLogger("asyncio").error("Task was %s", "destroyed")
    (line,) = lines(stream)
    del line["timestamp"]
    assert line == {"event": "Task was destroyed", "level": "error", "library": "asyncio"}


def test_people_get_readable_lines() -> None:
    """On a terminal: local time, colours, no braces."""
    stream = Terminal()
    configure(stream=stream)
    structlog.get_logger().warning("boot_stage_overdue", mac="52:54:00:77:00:01")
    text = stream.getvalue()
    assert "boot_stage_overdue" in text
    assert "\x1b[" in text
    assert "{" not in text


def test_standard_error_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    """Where a service's log belongs."""
    assert not sys.stderr.isatty()
    configure()
    structlog.get_logger().info("appliance_started")
    assert json.loads(capsys.readouterr().err)["event"] == "appliance_started"
