"""Distributions' media, dropped into image/ and nothing else: their initramfs, scripted, finds all that it asks for.

The media have the layout of the real ones, and little in it: which files are asked for is as the initramfs' source or
documentation says. Kernel and initramfs come from inside, and so does what the command line names.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.appliance.deployment.archives import ARCHISO, CASPER, LIVE_BOOT, LOCAL, archive, kernel
from tests.interop.machine import SERVER, Client, serving, two_networks
from tests.storage.isos import Tool, make_iso

pytestmark = pytest.mark.root


@dataclass(frozen=True)
class Medium:
    """A medium: where its kernel and initramfs are, what else is on it, and what is asked for of that.

    `words` are of the kernel's command line, `asked` the files by the word that has what comes before their paths.
    """

    kernel: str
    initrd: str
    words: tuple[str, ...]
    asked: dict[str, tuple[str, ...]]
    inside: dict[str, bytes] = field(default_factory=dict)
    initramfs: dict[str, bytes] = field(default_factory=lambda: LOCAL)


PXEBOOT = ("images/pxeboot/vmlinuz", "images/pxeboot/initrd.img")
URL = f"http://{SERVER}/image"
MEDIA = {
    "alpine-virt.iso": Medium(
        "boot/vmlinuz-virt",
        "boot/initramfs-virt",
        ("ip=dhcp",),
        {"modloop": ("",), "alpine_repo": ("/x86_64/APKINDEX.tar.gz", "/x86_64/alpine-base-3.20.0-r0.apk")},
        {
            "boot/modloop-virt": b"squashfs" * 9999,
            "apks/x86_64/APKINDEX.tar.gz": b"index",
            "apks/x86_64/alpine-base-3.20.0-r0.apk": b"package",
        },
    ),
    "coreos.iso": Medium(
        *PXEBOOT,
        ("ignition.firstboot", "ignition.platform.id=metal"),
        {"coreos.live.rootfs_url": ("",)},
        {"images/pxeboot/rootfs.img": b"rootfs" * 99999},
    ),
    "fedora-net.iso": Medium(
        *PXEBOOT,
        ("ip=dhcp", "rd.neednet=1"),
        {"inst.stage2": ("/images/install.img",)},
        {"images/install.img": b"stage2" * 9999},
    ),
    "rhel-dvd.iso": Medium(
        *PXEBOOT,
        ("ip=dhcp",),
        {"inst.repo": ("/.treeinfo", "/images/install.img", "/BaseOS/repodata/repomd.xml", "/BaseOS/Packages/a.rpm")},
        {
            ".treeinfo": b"[general]",
            "images/install.img": b"stage2",
            "BaseOS/repodata/repomd.xml": b"<repomd/>",
            "BaseOS/Packages/a.rpm": b"package",
        },
    ),
    "leap.iso": Medium(
        "boot/x86_64/loader/linux",
        "boot/x86_64/loader/initrd",
        ("ifcfg=*=dhcp",),
        {"install": ("/media.1/media", "/boot/x86_64/root", "/repodata/repomd.xml")},
        {"media.1/media": b"openSUSE", "boot/x86_64/root": b"system", "repodata/repomd.xml": b"<repomd/>"},
    ),
    "debian-live.iso": Medium(
        "live/vmlinuz",
        "live/initrd.img",
        ("boot=live",),
        {"fetch": ("",)},
        {"live/filesystem.squashfs": b"hsqs" * 9999},
        LIVE_BOOT,
    ),
    "ubuntu.iso": Medium("casper/vmlinuz", "casper/initrd", ("boot=casper",), {"url": ("",)}, initramfs=CASPER),
    "arch.iso": Medium(
        "arch/boot/x86_64/vmlinuz-linux",
        "arch/boot/x86_64/initramfs-linux.img",
        ("archiso_nbd_name=arch.iso", f"archiso_nbd_srv={SERVER}"),
        {},
        initramfs=ARCHISO,
    ),
}


@pytest.fixture(scope="module")
def tree(tool: Tool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A boot tree with all of them."""
    folder = tmp_path_factory.mktemp("media")
    (folder / "srv/image").mkdir(parents=True)
    for name, medium in MEDIA.items():
        files = {medium.kernel: kernel(), medium.initrd: archive(medium.initramfs), **medium.inside}
        make_iso(tool, folder / name, files, "-R", "-J").rename(folder / "srv/image" / name)
    return folder / "srv"


@pytest.fixture(scope="module")
def client(tree: Path, tool: Tool) -> Iterator[Client]:
    """A machine beside an appliance that serves it."""
    with (
        two_networks() as (box, machine),
        serving(box, tree, tree.parent / "api.sock", images=len(MEDIA)) as log,
    ):
        yield Client(machine, log, tool)


@pytest.mark.parametrize("name", MEDIA)
def test_it_finds_all_that_it_asks_for(client: Client, tree: Path, name: str) -> None:
    """Kernel, initramfs, then each file below what the command line names; all of them as they are on the medium."""
    medium = MEDIA[name]
    line = client.line(name)
    assert set(medium.words) <= set(line.words)
    assert (line.kernel, line.initrd) == (f"{URL}/{name}/-/{medium.kernel}", f"{URL}/{name}/-/{medium.initrd}")
    assert (client.get(line.kernel), client.get(line.initrd)) == (kernel(), archive(medium.initramfs))
    wanted = [f"image/{name}/-/{medium.kernel}", f"image/{name}/-/{medium.initrd}"]
    for word, paths in medium.asked.items():
        for path in paths:
            url = f"{line.value(word)}{path}"
            inside = url.removeprefix(f"{URL}/{name}").removeprefix("/-/")
            whole = (tree / "image" / name).read_bytes()
            assert client.get(url) == (medium.inside[inside] if inside else whole), url
            wanted.append(url.removeprefix(f"http://{SERVER}/"))
    assert client.asked(len(wanted)) == wanted


def test_over_nbd_it_is_the_medium(client: Client, tree: Path) -> None:
    """What archiso mounts is the export of that name."""
    exported = client.run("nbdcopy", f"nbd://{SERVER}/arch.iso", "-")
    assert exported == (tree / "image/arch.iso").read_bytes()


def test_parts_of_files_and_files_that_are_not_there(client: Client) -> None:
    """Ranges, as installers ask for; what is no file, and what would be outside, is 404."""
    inside = f"{URL}/rhel-dvd.iso/-"
    assert client.run("curl", "-f", "-r", "1-4", f"{inside}/.treeinfo") == b"gene"
    for path in ("/none", "/BaseOS", "/../coreos.iso", "/boot/../../../etc/passwd", ""):
        url = f"{inside}{path}"
        status = client.run("curl", "--path-as-is", "-o", "/dev/null", "-w", "%{http_code}", url)
        assert status in (b"403", b"404"), (path, status)
    client.log.wait("request_finished", 5)


def test_no_medium_is_booted_by_itself(client: Client) -> None:
    """Installers are media, too: machines go on to their disks unless somebody chooses."""
    script = client.get(f"http://{SERVER}/boot.ipxe").decode()
    client.asked(1)
    assert "--default choice0" in script
    assert "item choice0 Boot from this machine's disk" in script
