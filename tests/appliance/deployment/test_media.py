"""A medium looked into: told by what is on it or in its initramfs, and why it doesn't boot where it does not."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from appliance.deployment.cmdline import Place, command_line
from appliance.deployment.kinds import OF_MEDIA, Kind
from appliance.deployment.media import LAYOUTS, LIVE, LIVE_ROOT, PXEBOOT, STAGE2, SUSE, Layout
from appliance.deployment.rules import Rule
from appliance.deployment.survey import Deployment, look_into, survey_medium
from storage.image import FileImage
from storage.iso9660 import Iso
from tests.appliance.deployment import archives
from tests.appliance.deployment.archives import VERSION, archive, kernel
from tests.storage.isos import Tool, make_iso

Look = Callable[..., Deployment]


@pytest.fixture
def look(tool: Tool, tmp_path: Path) -> Look:
    """look(files, rule=..., links=...): how a medium with these files boots."""

    def survey(
        files: Mapping[str, bytes], rule: Rule | None = None, links: Mapping[str, str] | None = None
    ) -> Deployment:
        medium = Iso(FileImage(make_iso(tool, tmp_path / "x.iso", files, "-R", links=links)))
        return survey_medium(medium, rule or Rule())

    return survey


def on(place: tuple[str, str], initramfs: Mapping[str, bytes], *marks: str) -> dict[str, bytes]:
    """Files of a medium."""
    return {place[0]: kernel(), place[1]: archive(initramfs), **dict.fromkeys(marks, b"x")}


ALPINE = ("boot/vmlinuz-lts", "boot/initramfs-lts")
REPO = ("BaseOS/repodata/repomd.xml", ".treeinfo")


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (on(ALPINE, archives.LOCAL, "boot/modloop-lts", "apks/.boot_repository"), Kind.ALPINE),
        (on(PXEBOOT, archives.LIVENET, "images/pxeboot/rootfs.img"), Kind.COREOS),
        (on(PXEBOOT, archives.LIVENET, STAGE2), Kind.ANACONDA),
        (on(PXEBOOT, archives.LIVENET, STAGE2, *REPO), Kind.ANACONDA_REPO),
        (on(PXEBOOT, archives.LIVENET, STAGE2, "repodata/repomd.xml", ".treeinfo"), Kind.ANACONDA_REPO),
        (on(PXEBOOT, archives.LIVENET, "LiveOS/squashfs.img"), Kind.LIVENET),
        (on(SUSE, archives.LOCAL, "boot/x86_64/root", "media.1/media"), Kind.LINUXRC),
        (on(SUSE, archives.KIWI_LIVE), Kind.KIWI_LIVE),
        (on(LIVE, archives.LIVE_BOOT, LIVE_ROOT), Kind.LIVE_MEDIUM),
        (on(LIVE, archives.LIVE_BOOT), Kind.LIVE_BOOT),
        (on(("casper/vmlinuz", "casper/initrd"), archives.CASPER), Kind.CASPER),
    ],
)
def test_what_it_is(look: Look, files: Mapping[str, bytes], kind: Kind) -> None:
    """The same places may be of several distributions."""
    found = look(files)
    assert (found.ways["ram"], found.version, found.problem) == (kind, VERSION, "")
    assert {found.kernel, found.initrd} <= {f"/{name}" for name in files}


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout.kernel} {layout.kind}")
def test_every_place_that_is_known(look: Look, layout: Layout) -> None:
    """Kernel and initramfs are found there."""
    files = on((layout.kernel, layout.initrd), archives.LIVENET, *layout.marks)
    assert look(files).kernel == f"/{layout.kernel}"


@pytest.mark.parametrize(
    ("files", "rule", "problem"),
    [
        ({"README": b""}, Rule(), "it holds no kernel and initramfs at any place that is known"),
        (on(SUSE, archives.LOCAL), Rule(), "its initramfs /boot/x86_64/loader/initrd can't mount it over the network"),
        ({SUSE[0]: b"text", SUSE[1]: archive(archives.KIWI_LIVE)}, Rule(), "loader/linux is no kernel"),
        ({SUSE[0]: kernel(), SUSE[1]: b"\x1f\x8bxx"}, Rule(), "can't be read: is damaged"),
        (on(SUSE, archives.KIWI_LIVE), Rule(kernel="/boot/other"), "can't be read"),
        (on(SUSE, archives.KIWI_LIVE), Rule(initrd="own"), "no kernel and initramfs"),
    ],
)
def test_what_does_not_boot_says_why(look: Look, files: Mapping[str, bytes], rule: Rule, problem: str) -> None:
    """In words for the machine's screen and the log."""
    found = look(files, rule)
    assert problem in found.problem
    assert found.kernel == ""


def test_a_rule_says_where_and_what(look: Look) -> None:
    """Of a medium that is laid out as none that is known; links lead where they lead on the medium."""
    rule = Rule(kernel="/k", initrd="/new/i", kind=Kind.CASPER)
    found = look({"k": kernel("9.9"), "old/i": b"of no known kind"}, rule, {"new": "old"})
    assert (found.kernel, found.version, found.initrd, found.ways) == ("/k", "9.9", "/new/i", {"ram": Kind.CASPER})


def test_links_that_lead_in_circles_are_no_kernel(look: Look) -> None:
    """Whatever else is on the medium is found."""
    files = on(("live/vmlinuz", "live/initrd.img"), archives.LIVE_BOOT)
    assert look(files, links={"casper": "casper"}).kernel == "/live/vmlinuz"


def test_what_is_beside_a_medium_comes_first(tool: Tool, tmp_path: Path) -> None:
    """Kernel and initramfs of one that was imported once, with them beside it."""
    path = make_iso(tool, tmp_path / "x.iso", on(SUSE, archives.KIWI_LIVE), "-R")
    medium = Iso(FileImage(path))
    assert look_into(path, medium, Rule(), "iso9660") == survey_medium(medium, Rule())
    (tmp_path / "x.iso.kernel").write_bytes(kernel("9.9"))
    (tmp_path / "x.iso.initrd").write_bytes(archive(archives.KIWI_LIVE))
    found = look_into(path, medium, Rule(), "iso9660")
    assert found is not None
    assert (found.kernel, found.version) == (".kernel", "9.9")


@pytest.mark.parametrize("kind", OF_MEDIA)
def test_command_lines_lead_into_the_medium(kind: Kind) -> None:
    """By numeric address, since a name would need DNS, and without a word that a loader would take apart."""
    line = command_line(kind, "ram", Place("10.11.0.1", "x.iso", "e0.1", kernel="/boot/vmlinuz-virt"))
    assert line is not None
    assert "=http://10.11.0.1/image/x.iso/-" in line.words
    assert not set(line.words) & set("{};'\"$&|")
    assert ("modloop-virt" in line.words) is (kind is Kind.ALPINE)
