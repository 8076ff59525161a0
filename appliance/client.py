"""Asking a running appliance: over its Unix socket or by URL, every answer checked, every failure told in one line."""

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout, UnixConnector
from pydantic import TypeAdapter, ValidationError
from yarl import URL

from appliance.errors import OperatorError

ANSWER_SECONDS = 5.0  # the appliance answers within milliseconds; far more means that it hangs
START_IT = "start it with rootwire serve, or say where it is with --socket PATH or --url URL"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the appliance listens: `url` (a bare address will do) when it is set, else the Unix `socket`."""

    socket: Path
    url: str | None = None

    def __str__(self) -> str:
        return self.url or str(self.socket)


def read_answer(shape: TypeAdapter[T], answer: bytes, place: Place) -> T:
    """An answer as what it should be. Raises: OperatorError when it is something else."""
    try:
        return shape.validate_json(answer)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise OperatorError(
            f"{place} gave an answer that is no rootwire's: {where}: {first['msg']}",
            "use the command of the appliance's own version, or name another place with --socket or --url",
        ) from error


async def fetch(
    place: Place,
    path: str,
    query: Mapping[str, str] | None = None,
    *,
    method: str = "GET",
    missing: OperatorError | None = None,
    conflict: OperatorError | None = None,
    seconds: float = ANSWER_SECONDS,
) -> bytes:
    """What the appliance answers within so many seconds.

    Raises: OperatorError when it can't be asked or gives no answer; `missing` when it knows no such thing, `conflict`
    when that is not as it would have to be.
    """
    url = _url(place, path).with_query(query)
    connector = UnixConnector(path=str(place.socket)) if place.url is None else None
    try:
        async with (
            ClientSession(connector=connector, timeout=ClientTimeout(total=seconds)) as session,
            session.request(method, url) as response,
        ):
            body = await response.read()
            status = response.status
    except ClientConnectorError as error:
        raise _unreachable(place, error.os_error) from error
    except TimeoutError as error:
        problem = f"the appliance at {place} gave no answer in {seconds:.0f} s"
        raise OperatorError(problem, "look at its log: it hangs, or something else listens there") from error
    except ClientError as error:
        raise OperatorError(f"{place}: {error}", "look at the appliance's log") from error
    if status == HTTPStatus.NOT_FOUND and missing is not None:
        raise missing
    if status == HTTPStatus.CONFLICT and conflict is not None:
        raise conflict
    if status != HTTPStatus.OK:
        raise OperatorError(f"{place} answered {status}", "name a rootwire appliance with --socket or --url")
    return body


def _url(place: Place, path: str) -> URL:
    if place.url is None:
        return URL("http://appliance") / path
    try:
        url = URL(place.url if "://" in place.url else f"http://{place.url}")
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise OperatorError(f"{place} is no URL", "name one such as http://192.168.0.2")
    return url / path


def _unreachable(place: Place, error: OSError) -> OperatorError:
    if error.errno in (errno.EACCES, errno.EPERM):
        return OperatorError(f"no right to open {place}", "run this command as root")
    if place.url is None and error.errno in (errno.ENOENT, errno.ECONNREFUSED):
        return OperatorError(f"no appliance is running at {place}", START_IT)
    return OperatorError(f"no appliance can be reached at {place}: {error.strerror or error}", START_IT)
