"""Boot servers for the client's shell: they hold files, note what they are asked, take what they are sent."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Stub:
    """A boot server: what it holds, what it was asked and sent, and what its port is."""

    files: dict[str, bytes]
    port: int = 0
    asked: list[str] = field(default_factory=list)
    refusal: int = 404
    sent: dict[str, bytes] = field(default_factory=dict)
    takes_uploads: bool = True

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

        def do_PUT(self) -> None:
            if stub.takes_uploads:
                stub.sent[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(201 if stub.takes_uploads else 403)
            self.end_headers()

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
    content, coming = b"", ""
    while packet := listener.recvfrom(2048):
        data, peer = packet
        if not data:
            return
        if data[1] == 2 and not stub.takes_uploads:
            listener.sendto(b"\0\5\0\2Access violation\0", peer)
            continue
        if data[1] in (2, 3):
            if data[1] == 2:
                coming = data[2:].split(b"\0")[0].decode()
            stub.sent[coming] = stub.sent.get(coming, b"") + (data[4:] if data[1] == 3 else b"")
            listener.sendto(b"\0\4" + (data[2:4] if data[1] == 3 else b"\0\0"), peer)
            continue
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

LookUp = Callable[..., tuple[Stub, str, str]]
