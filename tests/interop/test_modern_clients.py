"""KIWI's clients of today, scripted, at an appliance whose images were imported: F15 to F17 of the contract.

`rootwire import`, `rootwire serve` and curl are the real ones, each side in a network namespace of its own. A client
does what the command line in its boot script has its initramfs do; what it asked for is what the appliance logged.
"""

import hashlib
import lzma
import subprocess
from collections.abc import Iterator
from pathlib import Path

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
from tests.interop.machine import DEADLINE, ROOTWIRE, SERVER, Client, Line, serving, two_networks
from tests.storage.isos import Tool, make_iso

pytestmark = pytest.mark.root

MEDIUM = "live.iso"


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
    with two_networks() as (box, machine), serving(box, imported, imported.parent / "api.sock", images=2) as log:
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
