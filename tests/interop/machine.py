"""A machine in a network namespace of its own and `rootwire serve` in another: boot scripts, and what is asked for."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from tests.protocols.network import ip

Tool = Callable[[str], str]
SERVER, CLIENT, MAC = "10.11.0.1", "10.11.0.57", "52:54:00:A1:B2:C3"
ROOTWIRE = [sys.executable, "-c", "from appliance.cli import main; main()"]
DEADLINE = 60  # seconds until what hangs fails its test


@dataclass(frozen=True, slots=True)
class Line:
    """The kernel's command line in a boot script, and what the script loads."""

    kernel: str
    initrd: str
    words: tuple[str, ...]

    def value(self, key: str) -> str:
        """What a word says."""
        (found,) = [word.removeprefix(f"{key}=") for word in self.words if word.startswith(f"{key}=")]
        return found


class Log:
    """What the appliance logs, as far as it did so far."""

    def __init__(self) -> None:
        self._lines: list[dict[str, object]] = []
        self._more = threading.Condition()
        self._taken = 0

    def follow(self, stream: IO[bytes]) -> None:
        """Read it to its end."""
        for line in stream:
            with self._more:
                self._lines.append(json.loads(line))
                self._more.notify_all()

    def wait(self, event: str, count: int) -> list[dict[str, object]]:
        """The lines of an event since what was taken last, once there are so many of them."""
        with self._more:
            assert self._more.wait_for(lambda: len(self._new(event)) >= count, DEADLINE), self._lines
            found = self._new(event)
            self._taken = len(self._lines)
            return found

    def _new(self, event: str) -> list[dict[str, object]]:
        return [line for line in self._lines[self._taken :] if line["event"] == event]


class Client:
    """A machine on the other end of the cable."""

    def __init__(self, namespace: str, log: Log, tool: Tool) -> None:
        self.log = log
        self._enter = ["ip", "netns", "exec", namespace]
        self._tool = tool

    def run(self, tool: str, *words: str) -> bytes:
        """What a program writes."""
        command = [*self._enter, self._tool(tool), *words]
        done = subprocess.run(command, capture_output=True, check=False, timeout=DEADLINE)
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def get(self, url: str) -> bytes:
        """A file by curl, as most of these clients fetch theirs."""
        return self.run("curl", "-f", url)

    def line(self, image: str) -> Line:
        """What the script that iPXE loads says of an image."""
        script = self.get(f"http://{SERVER}/boot.ipxe").decode().splitlines()
        self.asked(1)
        places = (f"kernel image/{image}.kernel ", f"kernel image/{image}/-/")  # beside it, or inside
        at = next(at for at, text in enumerate(script) if text.startswith(places))
        words = script[at].partition(" || ")[0].split()[1:]
        initrd = script[at + 1].partition(" || ")[0].split()[-1]
        return Line(f"http://{SERVER}/{words[0]}", f"http://{SERVER}/{initrd}", tuple(words[1:]))

    def asked(self, count: int) -> list[str]:
        """What the appliance was asked for by HTTP since, in order; it had all of it."""
        lines = self.log.wait("request_finished", count)
        assert {(line["client"], line["method"], line["status"]) for line in lines} == {(CLIENT, "GET", 200)}
        return [str(line["name"]) for line in lines]


@contextmanager
def two_networks() -> Iterator[tuple[str, str]]:
    """Namespaces for the box and the machine, a cable between them."""
    box, machine, near, far = (f"{what}{os.getpid()}" for what in ("box", "machine", "n", "f"))
    for namespace in (box, machine):
        ip("netns", "add", namespace)
    try:
        ip("link", "add", near, "netns", box, "type", "veth", "peer", "name", far, "netns", machine)
        ip("-n", machine, "link", "set", far, "address", MAC.lower())
        for namespace, name, address in ((box, near, SERVER), (machine, far, CLIENT)):
            ip("-n", namespace, "address", "add", f"{address}/24", "dev", name)
            ip("-n", namespace, "link", "set", name, "up")
        yield box, machine
    finally:
        for namespace in (box, machine):
            ip("netns", "delete", namespace)


@contextmanager
def serving(namespace: str, tree: Path, socket: Path, images: int) -> Iterator[Log]:
    """`rootwire serve` of a tree, once so many of its images were looked into; gives its log."""
    enter = ["ip", "netns", "exec", namespace, *ROOTWIRE, "serve", "--debug", "--root", str(tree)]
    command = [*enter, "--interface", f"n{os.getpid()}", "--socket", str(socket)]
    log = Log()
    with subprocess.Popen(command, stderr=subprocess.PIPE) as appliance:
        assert appliance.stderr is not None
        reader = threading.Thread(target=log.follow, args=(appliance.stderr,))
        reader.start()
        try:
            log.wait("image_surveyed", images)
            yield log
        finally:
            appliance.terminate()
            reader.join()
