"""KIWI's clients of today, scripted, at an appliance whose images were imported: F15 to F17 of the contract.

`rootwire import`, `rootwire serve` and curl are the real ones, each side in a network namespace of its own. A client
does what the command line in its boot script has its initramfs do; what it asked for is what the appliance logged.
"""

import hashlib
import json
import lzma
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from tests.appliance.deployment.archives import KIWI_LIVE, archive, kernel
from tests.appliance.importing.kiwi import (
    DISK,
    DISK_NAME,
    IMAGE,
    INITRD,
    INSTALL_SETS,
    KERNEL,
    NAME,
    ROOT_SETS,
    SYSTEM_INITRD,
    tarball,
)
from tests.appliance.importing.test_iso import make_iso
from tests.protocols.network import ip

pytestmark = pytest.mark.root

Tool = Callable[[str], str]
SERVER, CLIENT, MAC = "10.11.0.1", "10.11.0.57", "52:54:00:A1:B2:C3"
ROOTWIRE = [sys.executable, "-c", "from appliance.cli import main; main()"]
DEADLINE = 60  # seconds until what hangs fails its test
MEDIUM = "live.iso"


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
        """A file as kiwi-dump's curl fetches it."""
        return self.run("curl", "-f", url)

    def line(self, image: str) -> Line:
        """What the script that iPXE loads says of an image."""
        script = self.get(f"http://{SERVER}/boot.ipxe").decode().splitlines()
        self.asked(1)
        at = next(at for at, text in enumerate(script) if text.startswith(f"kernel image/{image}.kernel "))
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
def serving(namespace: str, tree: Path, socket: Path) -> Iterator[Log]:
    """`rootwire serve` of a tree, once its images were looked into; gives its log."""
    enter = ["ip", "netns", "exec", namespace, *ROOTWIRE, "serve", "--debug", "--root", str(tree)]
    command = [*enter, "--interface", f"n{os.getpid()}", "--socket", str(socket)]
    log = Log()
    with subprocess.Popen(command, stderr=subprocess.PIPE) as appliance:
        assert appliance.stderr is not None
        reader = threading.Thread(target=log.follow, args=(appliance.stderr,))
        reader.start()
        try:
            log.wait("image_surveyed", 2)
            yield log
        finally:
            appliance.terminate()
            reader.join()


@pytest.fixture(scope="module")
def imported(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A boot tree into which a kis tarball, an installation and a live medium were taken."""
    folder = tmp_path_factory.mktemp("modern")
    tree = folder / "srv"
    tree.mkdir()
    (folder / "kis.tar.xz").write_bytes(tarball(ROOT_SETS["kis 10"], mode="w:xz"))
    links = {f"{DISK_NAME}.kernel": f"pxeboot.{DISK_NAME}.kernel"}
    (folder / "desk.install.tar").write_bytes(tarball(INSTALL_SETS["10"], links=links))
    inside = {"boot/x86_64/loader/linux": kernel(), "boot/x86_64/loader/initrd": archive(KIWI_LIVE)}
    make_iso(tool, folder / MEDIUM, inside, "-R")
    for name in ("kis.tar.xz", "desk.install.tar", MEDIUM):
        command = [*ROOTWIRE, "import", "--root", str(tree), str(folder / name)]
        subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE)
    return tree


@pytest.fixture(scope="module")
def client(imported: Path, tool: Tool) -> Iterator[Client]:
    """A machine beside an appliance that serves it."""
    with two_networks() as (box, machine), serving(box, imported, imported.parent / "api.sock") as log:
        yield Client(machine, log, tool)


def test_f15_kiwi_overlay_over_nbd(client: Client) -> None:
    """Kernel and initrd by HTTP, then the export, whose bytes are the image's; nothing else is asked for."""
    line = client.line(NAME)
    kind, server, export = line.value("root").replace("=", ":").split(":")[1:]
    assert (kind, server, export) == ("nbd", SERVER, NAME)
    assert {"rd.driver.pre=nbd", "console=ttyS0", "quiet"} <= set(line.words)
    assert (client.get(line.kernel), client.get(line.initrd)) == (KERNEL, INITRD)
    assert client.run("nbdcopy", f"nbd://{server}/{export}", "-")[: len(IMAGE)] == IMAGE
    assert "is_read_only: true" in client.run("nbdinfo", f"nbd://{server}/{export}").decode()
    assert client.asked(2) == [f"image/{NAME}.kernel", f"image/{NAME}.initrd"]


def dump(client: Client, line: Line, suffixes: tuple[str, ...]) -> dict[str, bytes]:
    """What kiwi-dump fetches before the image, then the image, its content verified as it verifies it."""
    url = line.value("rd.kiwi.install.image")
    found = {suffix: client.get(url.replace(".xz", suffix)) for suffix in suffixes}
    packed = client.get(url)
    disk = lzma.decompress(packed)
    digest, blocks, size, packed_blocks, packed_size = found[suffixes[0]].decode().split()
    assert (len(disk), len(packed)) == (int(blocks) * int(size), int(packed_blocks) * int(packed_size))
    assert disk == DISK
    assert hashlib.new(suffixes[0][1:], disk).hexdigest() == digest
    return found


@pytest.mark.parametrize(
    ("first", "rest"),
    [
        (".sha256", (".kernel", ".initrd", ".config.bootoptions")),
        (".md5", (".kernel", ".initrd", ".config.bootoptions")),
        (".sha256", (".config.bootoptions",)),
    ],
    ids=["f16", "f16b", "f16c"],
)
def test_f16_installation(client: Client, first: str, rest: tuple[str, ...]) -> None:
    """The checksum (of older clients .md5), what kexec needs unless it goes to a RAM disk, options, the image."""
    line = client.line(DISK_NAME)
    assert "rd.kiwi.install.pxe" in line.words
    assert not any("example.com" in word for word in line.words)
    found = dump(client, line, (first, *rest))
    assert found.get(".kernel", KERNEL) == KERNEL
    assert found.get(".initrd", SYSTEM_INITRD) == SYSTEM_INITRD
    wanted = [f"image/{DISK_NAME}{suffix}" for suffix in (first, *rest, ".xz")]
    assert client.asked(len(wanted)) == wanted


def test_f17_live_medium(client: Client, imported: Path) -> None:
    """One request for all of it, into a RAM disk that is larger."""
    line = client.line(MEDIUM)
    url = line.value("root").removeprefix("live:")
    assert url == f"http://{SERVER}/image/{MEDIUM}"
    medium = client.get(url)
    assert hashlib.sha256(medium).digest() == hashlib.sha256((imported / "image" / MEDIUM).read_bytes()).digest()
    assert int(line.value("ramdisk_size")) * 1024 > len(medium)
    assert client.asked(1) == [f"image/{MEDIUM}"]


def test_none_of_them_is_taken_by_itself(client: Client) -> None:
    """But the root image: what writes over a disk, and what may, is for those who choose it."""
    script = client.get(f"http://{SERVER}/boot.ipxe").decode()
    client.asked(1)
    assert f"item choice0 {NAME}" in script
    assert "--default choice0" in script
