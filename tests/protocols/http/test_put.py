"""The HTTP endpoint, writing: KIWI's registration and everything that is not to become a file."""

import pytest
from aiohttp import web_protocol
from aiohttp.http_parser import HttpRequestParserPy

from protocols.http.endpoint import HttpLimits, RequestFinished, RequestStarted
from storage.errors import StorageError
from tests.protocols.http.conftest import UPLOAD_LIMIT, Box, Serve, Tree

NAME = "upload/client.52:54:00:A1:B2:C3"
TARGET = "/upload/client.52%3a54%3a00%3aA1%3aB2%3aC3"
FILE = "client.52:54:00:A1:B2:C3"


async def test_put(box: Box, tree: Tree) -> None:
    """A registration is created, and the connection goes on (KIWI 1.5, quirks H-12)."""
    caller = await box.call()
    reply = await caller.ask(f"PUT {TARGET} HTTP/1.1\nContent-Length: 5", body=b"hello")
    assert (reply.status, reply.body) == (201, b"")
    assert (tree.folder / FILE).read_bytes() == b"hello"
    assert tree.asked == [(NAME, "127.0.0.1")]
    assert (await caller.ask("GET /none HTTP/1.1")).status == 404


async def test_put_again(box: Box, tree: Tree) -> None:
    """204 says that one was replaced."""
    await box.ask(f"PUT {TARGET} HTTP/1.1\nContent-Length: 3", body=b"old")
    reply = await box.ask(f"PUT {TARGET} HTTP/1.1\nContent-Length: 3", body=b"new")
    assert reply.status == 204
    assert (tree.folder / FILE).read_bytes() == b"new"


async def test_put_of_nothing(box: Box, tree: Tree) -> None:
    """An empty file is one."""
    assert (await box.ask(f"PUT {TARGET} HTTP/1.1\nContent-Length: 0")).status == 201
    assert tree.stored() == [FILE]


async def test_put_in_chunks(box: Box, tree: Tree) -> None:
    """A client that does not know its length; the policy is told so."""
    reply = await box.ask(
        f"PUT {TARGET} HTTP/1.1\nTransfer-Encoding: chunked", body=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    assert reply.status == 201
    assert (tree.folder / FILE).read_bytes() == b"abcde"
    assert tree.events[0] == RequestStarted("127.0.0.1", "PUT", NAME, -1)


async def test_put_by_http_1_0(box: Box, tree: Tree) -> None:
    """An Expect of a 1.0 client is none: no 100 comes before the answer."""
    caller = await box.call()
    caller.send(f"PUT {TARGET} HTTP/1.0\nContent-Length: 2\nExpect: 100-continue\n\nhi")
    assert (await caller.rest()).startswith(b"HTTP/1.0 201 ")
    assert tree.stored() == [FILE]


async def test_continue_when_wanted(box: Box, tree: Tree) -> None:
    """curl waits for the 100 before it sends."""
    caller = await box.call()
    asked = await caller.ask(f"PUT {TARGET} HTTP/1.1\nContent-Length: 2\nExpect: 100-continue")
    caller.send(b"hi")
    assert (asked.status, (await caller.reply()).status) == (100, 201)
    assert tree.stored() == [FILE]


async def test_no_continue_for_what_is_refused(box: Box, tree: Tree) -> None:
    """The refusal comes first and ends the connection: its next bytes could be the body."""
    tree.refusal = PermissionError()
    caller = await box.call()
    reply = await caller.ask("PUT /boot/linux HTTP/1.1\nContent-Length: 2\nExpect: 100-continue")
    assert (reply.status, reply.fields["Connection"]) == (403, "close")


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (PermissionError(), 403),
        (FileExistsError(), 409),
        (StorageError("full", 28), 507),
        (StorageError("big", 27), 413),
        (OSError(5, "disk"), 500),
    ],
)
async def test_refusals(box: Box, tree: Tree, refusal: Exception, status: int) -> None:
    """What the policy says, before a byte is taken."""
    tree.refusal = refusal
    assert (await box.ask("PUT /x HTTP/1.1\nContent-Length: 2", body=b"hi")).status == status
    assert tree.stored() == []


async def test_announced_too_much(box: Box, tree: Tree) -> None:
    """413 at the door."""
    reply = await box.ask(f"PUT {TARGET} HTTP/1.1\nContent-Length: {UPLOAD_LIMIT + 1}\nExpect: 100-continue")
    assert reply.status == 413
    assert tree.stored() == []


async def test_sent_too_much(box: Box, tree: Tree) -> None:
    """413 in the middle, when it was not announced; nothing stays."""
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (UPLOAD_LIMIT + 1, b"x" * (UPLOAD_LIMIT + 1))
    reply = await box.ask(f"PUT {TARGET} HTTP/1.1\nTransfer-Encoding: chunked", body=body)
    assert reply.status == 413
    assert tree.stored() == []


@pytest.mark.parametrize(
    ("field", "status"), [("Content-Range: bytes 0-1/4", 400), ("Content-Encoding: gzip", 415), ("X-Nothing: 1", 411)]
)
async def test_no_whole_file(box: Box, tree: Tree, field: str, status: int) -> None:
    """Parts, encoded bodies and bodies without an end are not stored, nor is the policy asked."""
    length = "" if status == 411 else "\nContent-Length: 2"
    reply = await box.ask(f"PUT {TARGET} HTTP/1.1\n{field}{length}", body=b"" if status == 411 else b"hi")
    assert reply.status == status
    assert tree.asked == []


async def test_a_chunk_that_is_none(box: Box, tree: Tree) -> None:
    """Broken framing is counted and refused; nothing stays."""
    reply = await box.ask(f"PUT {TARGET} HTTP/1.1\nTransfer-Encoding: chunked", body=b"zz\r\nabc\r\n")
    assert reply.status == 400
    assert box.server.counts["malformed"] == 1
    assert tree.stored() == []


async def send_a_bad_chunk_late(box: Box) -> int:
    """Begin a good upload, go on with broken framing; the status that comes back."""
    caller = await box.call()
    await caller.ask(f"PUT {TARGET} HTTP/1.1\nTransfer-Encoding: chunked\nExpect: 100-continue")
    caller.send(b"2\r\nhi\r\nzz\r\n")
    return (await caller.reply()).status


async def test_a_later_chunk_that_is_none(serve: Serve, tree: Tree) -> None:
    """aiohttp's native parser does not tell a body that it will not go on: time does."""
    async with serve(limits=HttpLimits(upload=0.2)) as box:
        assert await send_a_bad_chunk_late(box) == 408
    assert tree.stored() == []


async def test_a_later_chunk_that_is_none_for_the_other_parser(
    box: Box, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where aiohttp comes without its native parser, the other one tells at once."""
    monkeypatch.setattr(web_protocol, "HttpRequestParser", HttpRequestParserPy)
    assert await send_a_bad_chunk_late(box) == 400
    assert box.server.counts["malformed"] >= 1
    assert tree.stored() == []


async def test_a_client_that_leaves(box: Box, tree: Tree) -> None:
    """Half an upload is no upload."""
    caller = await box.call()
    caller.send(f"PUT {TARGET} HTTP/1.1\nHost: box\nContent-Length: 9\nExpect: 100-continue\n\n")
    await caller.reply()
    caller.send(b"half")
    await caller.close()
    finished = await box.finished()
    assert (finished.status, finished.method) == (499, "PUT")
    assert tree.stored() == []
    assert box.server.counts["abandoned"] == 1


async def test_a_client_that_never_ends(serve: Serve, tree: Tree) -> None:
    """One that drips is told after its time, and its half goes."""
    async with serve(limits=HttpLimits(upload=0.1)) as box:
        reply = await box.ask(f"PUT {TARGET} HTTP/1.1\nContent-Length: 9", body=b"half")
        assert reply.status == 408
    assert tree.stored() == []


async def test_events(box: Box, tree: Tree) -> None:
    """An upload is reported with the bytes received."""
    await box.ask(f"PUT {TARGET} HTTP/1.1\nContent-Length: 5", body=b"hello")
    finished = await box.finished()
    assert tree.events[0] == RequestStarted("127.0.0.1", "PUT", NAME, 5)
    assert isinstance(finished, RequestFinished)
    assert (finished.method, finished.status, finished.size) == ("PUT", 201, 5)
