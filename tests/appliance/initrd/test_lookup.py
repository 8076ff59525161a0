"""Which configuration a machine finds, and what it asks for on the way, over HTTP and TFTP."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.appliance.initrd.conftest import Shell

MAC = "52:54:00:a1:b2:c3"
ADDRESS = "10.11.0.57"
MISSES = [
    "KIWI/config.52:54:00:A1:B2:C3",
    "KIWI/config.group",
    *(f"KIWI/config.{'0A0B0039'[:digits]}" for digits in range(8, 0, -1)),
]
FIND = 'find_config "$1" "$2"; status=$?; printf "%s %s" $status "$config_name"'


@dataclass
class Stub:
    """A boot server: what it holds, what it was asked, and what its port is."""

    files: dict[str, bytes]
    port: int = 0
    asked: list[str] = field(default_factory=list)
    refusal: int = 404

    def answer(self, name: str) -> bytes | None:
        """Note the question; the file, or None."""
        self.asked.append(name)
        return self.files.get(name)


@contextmanager
def http_stub(stub: Stub) -> Iterator[Stub]:
    """Serve the stub's files over HTTP on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = stub.answer(self.path)
            self.send_response(stub.refusal if content is None else 200)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, format: str, *args: object) -> None:
            """Nothing on the test's standard error."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        stub.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield stub
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def tftp_stub(stub: Stub) -> Iterator[Stub]:
    """Serve the stub's files over TFTP on loopback, in lock step from one port; an empty datagram ends it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        stub.port = listener.getsockname()[1]
        thread = threading.Thread(target=_serve_tftp, args=(listener, stub))
        thread.start()
        try:
            yield stub
        finally:
            listener.sendto(b"", ("127.0.0.1", stub.port))
            thread.join()


def _serve_tftp(listener: socket.socket, stub: Stub) -> None:
    content = b""
    while packet := listener.recvfrom(2048):
        data, peer = packet
        if not data:
            return
        if data[1] == 1:
            found = stub.answer(data[2:].split(b"\0")[0].decode())
            if found is None:
                listener.sendto(b"\0\5\0\1File not found\0", peer)
                continue
            content, block = found, 1
        elif data[1] == 4:
            block = int.from_bytes(data[2:4], "big") + 1
        else:
            continue
        if (block - 1) * 512 <= len(content):
            listener.sendto(b"\0\3" + block.to_bytes(2, "big") + content[(block - 1) * 512 : block * 512], peer)


STUBS = {"http": http_stub, "tftp": tftp_stub}


@pytest.fixture(params=["http", "tftp"])
def look_up(request: pytest.FixtureRequest, shell: Shell) -> Callable[..., tuple[Stub, str, str]]:
    """look_up(files): run find_config against a server with these files; the stub, the outcome, what was said."""
    kind: str = request.param

    def run(files: dict[str, bytes]) -> tuple[Stub, str, str]:
        served = {f"/{name.replace(':', '%3a')}" if kind == "http" else name: data for name, data in files.items()}
        with STUBS[kind](Stub(served)) as stub:
            setup = f"server=127.0.0.1:{stub.port}; kiwiservertype={kind}; from={kind}://test\n"
            done = shell(setup + FIND, MAC, ADDRESS)
        said, _, outcome = done.stdout.decode().rpartition("\n")
        stub.asked = [name.lstrip("/").replace("%3a", ":") for name in stub.asked]
        return stub, outcome, said

    return run


LookUp = Callable[..., tuple[Stub, str, str]]


def test_default_comes_last(look_up: LookUp) -> None:
    """A machine nobody named asks ten names in KIWI's order before config.default."""
    stub, outcome, _ = look_up({"KIWI/config.default": b"A=1\n"})
    assert outcome == "0 KIWI/config.default"
    assert stub.asked == [*MISSES, "KIWI/config.default"]


def test_own_configuration_comes_first(look_up: LookUp) -> None:
    """The MAC address in capitals, nothing else asked."""
    stub, outcome, _ = look_up({MISSES[0]: b"A=1\n", "KIWI/config.default": b"A=2\n"})
    assert (outcome, stub.asked) == (f"0 {MISSES[0]}", MISSES[:1])


def test_network_of_the_address(look_up: LookUp) -> None:
    """The address in hex, shortened until one fits."""
    stub, outcome, _ = look_up({"KIWI/config.0A0B": b"A=1\n", "KIWI/config.default": b"A=2\n"})
    assert (outcome, stub.asked) == ("0 KIWI/config.0A0B", MISSES[:7])


def test_group_is_asked_and_named(look_up: LookUp) -> None:
    """A group file is said to come later; the search goes on."""
    stub, outcome, said = look_up({"KIWI/config.group": b"KIWI_GROUP=a\n", "KIWI/config.default": b"A=2\n"})
    assert (outcome, stub.asked) == ("0 KIWI/config.default", [*MISSES, "KIWI/config.default"])
    assert said == "rootwire: config: KIWI/config.group is there, but groups come later: going on with the next name"


def test_empty_file_counts_as_missing(look_up: LookUp) -> None:
    """A file without a byte is no configuration; one with a newline is."""
    _, outcome, _ = look_up({MISSES[0]: b"", "KIWI/config.0A0B0039": b"\n"})
    assert outcome == "0 KIWI/config.0A0B0039"


def test_nothing_there(look_up: LookUp) -> None:
    """Status 1: the server answers and has none."""
    assert look_up({})[1] == "1 "


def test_too_big_is_left_out(look_up: LookUp) -> None:
    """Past 64 KiB a file is no configuration; it neither fills the memory nor stops the search."""
    _, outcome, said = look_up({MISSES[0]: b"A=1\n" * 20000, "KIWI/config.default": b"A=2\n"})
    assert outcome == "0 KIWI/config.default"
    assert f"{MISSES[0]} on" in said
    assert "is bigger than 64 KiB" in said


def test_server_error_is_not_missing(shell: Shell) -> None:
    """Status 2 on HTTP 503: the search is tried again from its first name, not taken to the default."""
    with http_stub(Stub({}, refusal=503)) as stub:
        done = shell(f"server=127.0.0.1:{stub.port}; kiwiservertype=http\n" + FIND, MAC, ADDRESS)
    assert (done.stdout, stub.asked) == (b"2 ", ["/KIWI/config.52%3a54%3a00%3aA1%3aB2%3aC3"])


def test_silent_server_is_not_missing(shell: Shell) -> None:
    """Status 2 where nothing listens, with the tool's own words as the reason."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        setup = f"server=127.0.0.1:{unused.getsockname()[1]}; kiwiservertype=http\n"
        done = shell(setup + FIND + "; why_no_answer", MAC, ADDRESS)
    assert done.stdout.startswith(b"2 ")
    assert b"Connection refused" in done.stdout


@pytest.mark.parametrize(
    ("setup", "expected"),
    [
        ("kiwiserver=10.0.0.1 ip_server=10.0.0.2 lease_siaddr=10.0.0.3", "tftp://10.0.0.1"),
        ("ip_server=10.0.0.2 lease_siaddr=10.0.0.3", "tftp://10.0.0.2"),
        ("lease_siaddr=10.0.0.3 lease_serverid=10.0.0.4", "tftp://10.0.0.3"),
        ("lease_siaddr=0.0.0.0 lease_serverid=10.0.0.4", "tftp://10.0.0.4"),
        ("kiwiserver=10.0.0.1:8080 kiwiservertype=http", "http://10.0.0.1:8080"),
        ("kiwiserver='$(x)'", "rootwire: FAILED: kiwiserver=$(x) is no address: correct the kernel command line"),
        ("", "rootwire: FAILED: no boot server known: give kiwiserver=ADDRESS on the kernel command line"),
        (
            "kiwiserver=a kiwiservertype=ftp",
            "rootwire: FAILED: kiwiservertype=ftp is not spoken by this client: use http or tftp",
        ),
    ],
)
def test_server_is_chosen_in_order(shell: Shell, setup: str, expected: str) -> None:
    """Kernel command line, PXELINUX's ip=, DHCP's next server, DHCP server; else one clear failure."""
    assert shell(f'{setup}\nchoose_server; printf %s "$from"').stdout.decode().strip() == expected
