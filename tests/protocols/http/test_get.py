"""The HTTP endpoint, reading: answers as firmware, loaders and scripts need them."""

import asyncio
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from protocols.http.endpoint import CHUNK, RequestFinished, RequestStarted
from storage.errors import StorageError
from storage.image import BytesImage, FileImage, PaddedImage
from tests.protocols.http.conftest import Box, Tree

SCRIPT = b"#!ipxe\nboot\n"


@pytest.fixture(autouse=True)
def script(tree: Tree) -> None:
    """One generated file."""
    tree.files["boot.ipxe"] = BytesImage(SCRIPT)


@pytest.fixture
def big(tree: Tree, tmp_path: Path) -> bytes:
    """One file of several chunks and a bit, whose bytes are all over the place."""
    content = os.urandom(3 * CHUNK + 17)
    (tmp_path / "big").write_bytes(content)
    tree.files["image/big"] = FileImage(tmp_path / "big")
    return content


async def test_get(box: Box) -> None:
    """A small file comes whole, with the header fields it needs and no others (quirks H-2, H-4)."""
    reply = await box.ask("GET /boot.ipxe HTTP/1.1")
    assert (reply.status, reply.body) == (200, SCRIPT)
    assert reply.fields.keys() == {"ETag", "Accept-Ranges", "Server", "Content-Type", "Content-Length", "Date"}
    assert reply.fields["Content-Type"] == "text/plain"
    assert reply.fields["Accept-Ranges"] == "bytes"
    assert all(reply.fields.values())


async def test_get_big(box: Box, big: bytes) -> None:
    """A file of many chunks comes whole, with a length and never chunked."""
    reply = await box.ask("GET /image/big HTTP/1.1\nAccept-Encoding: gzip, deflate, br")
    assert reply.body == big
    assert reply.fields.keys().isdisjoint({"Transfer-Encoding", "Content-Encoding", "Connection"})
    assert "Last-Modified" in reply.fields


async def test_a_layer_has_the_date_of_its_file(box: Box, big: bytes, tree: Tree, tmp_path: Path) -> None:
    """Padding changes the length, not when the file changed."""
    tree.files["image/padded"] = PaddedImage(FileImage(tmp_path / "big"), multiple=512)
    plain = await box.ask("HEAD /image/big HTTP/1.1", has_body=False)
    padded = await box.ask("HEAD /image/padded HTTP/1.1", has_body=False)
    assert padded.fields["Last-Modified"] == plain.fields["Last-Modified"]


async def test_head_then_get_on_one_connection(box: Box, big: bytes) -> None:
    """HttpBootDxe asks the length first and breaks when the connection ends in between (quirks H-1)."""
    caller = await box.call()
    head = await caller.ask("HEAD /image/big HTTP/1.1", has_body=False)
    get = await caller.ask("GET /image/big HTTP/1.1")
    assert head.fields["Content-Length"] == get.fields["Content-Length"] == str(len(big))
    assert head.fields["ETag"] == get.fields["ETag"]
    assert get.body == big


async def test_an_empty_file(box: Box, tree: Tree) -> None:
    """Zero bytes have a length too."""
    tree.files["empty"] = BytesImage(b"")
    reply = await box.ask("GET /empty HTTP/1.1")
    assert (reply.status, reply.fields["Content-Length"], reply.body) == (200, "0", b"")


@pytest.mark.parametrize(
    ("first", "last"), [(0, 0), (5, 9), (CHUNK - 1, CHUNK), (1, 3 * CHUNK), (3 * CHUNK, 3 * CHUNK + 16)]
)
async def test_ranges(box: Box, big: bytes, first: int, last: int) -> None:
    """Ranges within, across and over many chunks."""
    reply = await box.ask(f"GET /image/big HTTP/1.1\nRange: bytes={first}-{last}")
    assert (reply.status, reply.body) == (206, big[first : last + 1])
    assert reply.fields["Content-Range"] == f"bytes {first}-{last}/{len(big)}"


async def test_a_disk_read_in_ranges_on_one_connection(box: Box, big: bytes) -> None:
    """A SAN boot: sector after sector, without a new connection (quirks I-8)."""
    caller = await box.call()
    for at in range(0, 20 * 512, 512):
        reply = await caller.ask(f"GET /image/big HTTP/1.1\nRange: bytes={at}-{at + 511}")
        assert reply.body == big[at : at + 512]


async def test_resume_of_the_same_version_only(box: Box, big: bytes) -> None:
    """If-Range: the rest of what the client has, or all of what it has not."""
    tag = (await box.ask("HEAD /image/big HTTP/1.1", has_body=False)).fields["ETag"]
    same = await box.ask(f"GET /image/big HTTP/1.1\nRange: bytes=100-\nIf-Range: {tag}")
    other = await box.ask('GET /image/big HTTP/1.1\nRange: bytes=100-\nIf-Range: "other"')
    assert (same.status, same.body) == (206, big[100:])
    assert (other.status, other.body) == (200, big)


async def test_not_modified(box: Box) -> None:
    """304 has the tag and no body; the connection goes on."""
    caller = await box.call()
    tag = (await caller.ask("GET /boot.ipxe HTTP/1.1")).fields["ETag"]
    reply = await caller.ask(f"GET /boot.ipxe HTTP/1.1\nIf-None-Match: {tag}")
    assert (reply.status, reply.fields["ETag"]) == (304, tag)
    assert "Content-Length" not in reply.fields
    assert (await caller.ask("GET /boot.ipxe HTTP/1.1")).status == 200


async def test_conditions_on_several_lines_are_one_list(box: Box) -> None:
    """RFC 9110 §5.3: repeated fields are joined."""
    tag = (await box.ask("GET /boot.ipxe HTTP/1.1")).fields["ETag"]
    reply = await box.ask(f'GET /boot.ipxe HTTP/1.1\nIf-None-Match: "x"\nIf-None-Match: {tag}')
    assert reply.status == 304


async def test_refused_conditions_and_ranges(box: Box) -> None:
    """412 and 416 are short texts; 416 says how long the file is."""
    changed = await box.ask('GET /boot.ipxe HTTP/1.1\nIf-Match: "other"')
    beyond = await box.ask("GET /boot.ipxe HTTP/1.1\nRange: bytes=500-")
    assert (changed.status, beyond.status) == (412, 416)
    assert beyond.fields["Content-Range"] == f"bytes */{len(SCRIPT)}"
    assert len(changed.body) < 100


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("//boot//linux", "boot/linux"),
        ("/KIWI/config.52%3a54%3a00%3aA1%3aB2%3aC3", "KIWI/config.52:54:00:A1:B2:C3"),
        ("/../etc/passwd", "../etc/passwd"),
        ("/a%2f..%5cb", "a/..\\b"),
        ("/boot.ipxe?uuid=1%zz", "boot.ipxe"),
        ("http://other/boot.ipxe", "boot.ipxe"),
        ("/", ""),
    ],
)
async def test_names(box: Box, tree: Tree, target: str, name: str) -> None:
    """The tree is asked for the name decoded, slashes folded without a redirect (quirks H-5, H-11), dots untouched."""
    reply = await box.ask(f"GET {target} HTTP/1.1")
    assert reply.status in (200, 404)
    assert tree.asked == [(name, "127.0.0.1")]


@pytest.mark.parametrize("target", ["/a%", "/%ff", "/a%00b", "/a%0d%0aX:y"])
async def test_names_that_are_none(box: Box, tree: Tree, target: str) -> None:
    """400, and the tree is not asked."""
    assert (await box.ask(f"GET {target} HTTP/1.1")).status == 400
    assert tree.asked == []


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (FileNotFoundError("secret path"), 404),
        (PermissionError("secret path"), 403),
        (IsADirectoryError("secret path"), 404),
        (StorageError("secret path", 5), 500),
        (OSError(24, "secret path"), 500),
    ],
)
async def test_refusals(box: Box, tree: Tree, failure: Exception, status: int) -> None:
    """A status and a short text that gives nothing away; never a 200, which KIWI's client would source (1.4)."""
    tree.files["x"] = failure
    caller = await box.call()
    reply = await caller.ask("GET /x HTTP/1.1")
    assert (reply.status, reply.fields["Content-Type"]) == (status, "text/plain; charset=utf-8")
    assert b"secret" not in reply.body
    assert len(reply.body) < 100
    assert (await caller.ask("GET /boot.ipxe HTTP/1.1")).status == 200


async def test_a_miss_of_head_has_no_body(box: Box) -> None:
    """Else its text would be taken for the next answer."""
    caller = await box.call()
    assert (await caller.ask("HEAD /none HTTP/1.1", has_body=False)).status == 404
    assert (await caller.ask("GET /boot.ipxe HTTP/1.1")).body == SCRIPT


@pytest.mark.parametrize("method", ["DELETE", "POST", "OPTIONS", "PROPFIND"])
async def test_other_methods(box: Box, method: str) -> None:
    """405 says what there is instead."""
    reply = await box.ask(f"{method} /boot.ipxe HTTP/1.1")
    assert (reply.status, reply.fields["Allow"]) == (405, "GET, HEAD, PUT")


async def test_http_1_0_without_host(box: Box) -> None:
    """GRUB, U-Boot and old busybox: answered, and closed after (quirks H-8)."""
    caller = await box.call()
    caller.send("GET /boot.ipxe HTTP/1.0\n\n")
    head, _, body = (await caller.rest()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 200 OK\r\n")
    assert body == SCRIPT


async def test_http_1_0_keep_alive(box: Box) -> None:
    """A 1.0 client that asks for it may go on."""
    caller = await box.call()
    for _ in range(2):
        caller.send("GET /boot.ipxe HTTP/1.0\nConnection: keep-alive\n\n")
        reply = await caller.reply()
        assert (reply.body, reply.fields["Connection"]) == (SCRIPT, "keep-alive")


async def test_http_1_1_without_host(box: Box) -> None:
    """Tolerated as well: firmware forgets it."""
    caller = await box.call()
    caller.send("GET /boot.ipxe HTTP/1.1\n\n")
    assert (await caller.reply()).body == SCRIPT


async def test_connection_close(box: Box) -> None:
    """A client that wants no more gets the end of the connection with the answer."""
    caller = await box.call()
    caller.send("GET /boot.ipxe HTTP/1.1\nHost: box\nConnection: close\n\n")
    assert (await caller.rest()).endswith(b"\r\n\r\n" + SCRIPT)


async def test_pipelined(box: Box, big: bytes) -> None:
    """Requests sent ahead are answered in their order."""
    caller = await box.call()
    asked = ("GET /image/big", "HEAD /image/big", "GET /boot.ipxe")
    caller.send("".join(f"{request} HTTP/1.1\nHost: box\n\n" for request in asked))
    assert (await caller.reply()).body == big
    assert (await caller.reply(has_body=False)).status == 200
    assert (await caller.reply()).body == SCRIPT


async def test_events(box: Box, big: bytes) -> None:
    """An answer is reported when it begins, with what it will carry, and when it is over, with what it did."""
    await box.ask("GET //image/big HTTP/1.1")
    finished = await box.finished()
    assert box.tree.events[0] == RequestStarted("127.0.0.1", "GET", "image/big", len(big))
    assert (finished.client, finished.method, finished.name) == ("127.0.0.1", "GET", "image/big")
    assert (finished.status, finished.size) == (200, len(big))
    assert box.server.counts["status_200"] == 1


async def test_a_miss_is_reported_as_finished_only(box: Box) -> None:
    """Nothing began, but a look-up is a sign of life."""
    await box.ask("GET /none HTTP/1.1")
    assert (await box.finished()).status == 404
    assert [type(event) for event in box.tree.events] == [RequestFinished]


async def test_one_line_per_request(box: Box) -> None:
    """Downloads are the operator's business; misses, parts and probes are for debugging."""
    with capture_logs() as lines:
        for request in ("GET /boot.ipxe", "HEAD /boot.ipxe", "GET /none"):
            await box.ask(f"{request} HTTP/1.1", has_body=False)
            await box.finished()
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("request_finished", "info"),
        ("request_finished", "debug"),
        ("request_finished", "debug"),
    ]


async def test_a_client_that_leaves_in_the_middle(box: Box, tree: Tree, tmp_path: Path) -> None:
    """Counted, reported with what was sent, no error of ours; others are served."""
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(1 << 30)
    tree.files["huge"] = FileImage(tmp_path / "huge")
    caller = await box.call()
    with capture_logs() as lines:
        caller.send("GET /huge HTTP/1.1\n\n")
        await caller.reader.readexactly(1000)
        caller.writer.transport.abort()
        finished = await box.finished()
    assert 0 < finished.size < 1 << 30
    assert finished.status == 499
    assert box.server.counts["abandoned"] == 1
    assert [line for line in lines if line["log_level"] == "error"] == []


async def test_a_file_that_becomes_shorter(box: Box, big: bytes, tree: Tree, tmp_path: Path) -> None:
    """The connection is cut, so that the client can't take the half for the whole; the reason is logged."""
    with (tmp_path / "shrinking").open("wb") as file:
        file.truncate(1 << 30)
    tree.files["shrinking"] = FileImage(tmp_path / "shrinking")
    caller = await box.call()
    with capture_logs() as lines:
        caller.send("GET /shrinking HTTP/1.1\n\n")
        await caller.reader.readexactly(1000)
        os.truncate(tmp_path / "shrinking", 5000)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await caller.reader.readexactly(1 << 30)
        assert (await box.finished()).status == 500
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["request_failed"]


async def test_a_small_file_that_is_gone_is_an_error_answer(box: Box, tree: Tree, tmp_path: Path) -> None:
    """Nothing was sent yet when its read fails: 500."""
    (tmp_path / "gone").write_bytes(b"12345")
    tree.files["gone"] = FileImage(tmp_path / "gone")
    os.truncate(tmp_path / "gone", 2)
    assert (await box.ask("GET /gone HTTP/1.1")).status == 500


async def test_many_at_once(box: Box, big: bytes) -> None:
    """A classroom fetching the same image."""
    replies = await asyncio.gather(*(box.ask("GET /image/big HTTP/1.1") for _ in range(50)))
    assert all(reply.body == big for reply in replies)
