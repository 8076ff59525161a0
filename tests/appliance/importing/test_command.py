"""What KIWI builds, imported: what is in the tree then, and what is refused."""

import lzma
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.errors import OperatorError
from appliance.images.catalog import Catalog
from tests.appliance.deployment.archives import PACKERS
from tests.appliance.importing.conftest import Import
from tests.appliance.importing.kiwi import (
    DISK,
    DISK_NAME,
    IMAGE,
    INITRD,
    INSTALL_SETS,
    KERNEL,
    NAME,
    PACKED_DISK,
    ROOT_SETS,
    SYSTEM_INITRD,
    Files,
    md5_line,
    sha256_line,
    tarball,
)

ROOT_KIWI_10 = ROOT_SETS["kis 10"]


def write(folder: Path, files: Files) -> list[Path]:
    """The files in a folder of their own."""
    folder.mkdir()
    paths = [folder / name for name in files]
    for path, content in zip(paths, files.values(), strict=True):
        path.write_bytes(content)
    return paths


def listing(tree: Path) -> dict[str, bytes]:
    """What is in image/."""
    return {path.name: path.read_bytes() for path in sorted((tree / "image").iterdir())}


@pytest.mark.parametrize("version", ROOT_SETS)
def test_root_images_of_every_version(tree: Path, tmp_path: Path, run_import: Import, version: str) -> None:
    """Whatever they are called, they have one name in the tree, are whole and uncompressed, with both sums."""
    report = run_import(*write(tmp_path / "set", ROOT_SETS[version]))
    there = listing(tree)
    assert there[NAME] == IMAGE
    assert there[f"{NAME}.kernel"] == KERNEL
    assert there[f"{NAME}.md5"] == md5_line(IMAGE)
    assert there[f"{NAME}.sha256"] == sha256_line(IMAGE)
    assert set(there) - {f"{NAME}.append"} == {NAME, *(f"{NAME}.{s}" for s in ("kernel", "initrd", "md5", "sha256"))}
    assert report["verified"]


@pytest.mark.parametrize("packer", ["plain", "xz", "gzip", "bzip2", "zstd"])
@pytest.mark.parametrize("prefix", ["", "./"])
def test_tarballs(tree: Path, tmp_path: Path, run_import: Import, packer: str, prefix: str) -> None:
    """Plain or compressed; what is in them is the same."""
    path = tmp_path / f"{NAME}.tar"
    path.write_bytes(PACKERS[packer](tarball(ROOT_KIWI_10, prefix=prefix)))
    run_import(path)
    there = listing(tree)
    assert (there[NAME], there[f"{NAME}.initrd"]) == (IMAGE, INITRD)
    assert there[f"{NAME}.append"] == b"console=ttyS0 quiet\n"  # not where the root was on a disk


def test_a_folder_with_the_tarball_beside_what_is_in_it(tree: Path, tmp_path: Path, run_import: Import) -> None:
    """KIWI leaves both there; other files are no matter."""
    write(tmp_path / "set", {**ROOT_KIWI_10, f"{NAME}.tar.xz": tarball(ROOT_KIWI_10, mode="w:xz"), "x.packages": b"p"})
    run_import(tmp_path / "set")
    assert listing(tree)[NAME] == IMAGE


@pytest.mark.parametrize("version", INSTALL_SETS)
def test_installations_of_every_version(tree: Path, tmp_path: Path, run_import: Import, version: str) -> None:
    """Everything that kiwi-dump asks for is beside the image, which stays compressed; its sums have five fields."""
    files = dict(INSTALL_SETS[version])
    kernel = next(name for name in files if name.endswith("kernel"))
    path = tmp_path / f"{DISK_NAME}.install.tar"
    path.write_bytes(tarball(files, links={f"{DISK_NAME}.kernel": kernel}, prefix="./"))
    run_import(path)
    there = listing(tree)
    assert there[f"{DISK_NAME}.xz"] == PACKED_DISK
    assert there[f"{DISK_NAME}.sha256"] == sha256_line(DISK, PACKED_DISK)
    assert there[f"{DISK_NAME}.md5"] == md5_line(DISK, PACKED_DISK)
    assert there[f"{DISK_NAME}.kernel"] == KERNEL
    assert there[f"{DISK_NAME}.initrd"] == SYSTEM_INITRD
    assert there[f"pxeboot.{DISK_NAME}.initrd"] == INITRD
    assert there[f"{DISK_NAME}.append"] == b"console=ttyS0\n"
    assert (f"{DISK_NAME}.config.bootoptions" in there) == (version != "9.12")


def test_what_belongs_to_an_image_is_no_image(tree: Path, tmp_path: Path, run_import: Import) -> None:
    """Nor is what installs a disk: neither is an export or a root."""
    run_import(*write(tmp_path / "root", ROOT_KIWI_10))
    run_import(*write(tmp_path / "disk", INSTALL_SETS["10"]))
    catalog = Catalog(tree / "image")
    catalog.load()
    assert [entry.name for entry in catalog] == [NAME]


def test_names_that_are_taken(tree: Path, tmp_path: Path, run_import: Import) -> None:
    """Refused, unless they are to be replaced; another name is another image."""
    paths = write(tmp_path / "set", ROOT_KIWI_10)
    run_import(*paths)
    before = listing(tree)
    with pytest.raises(OperatorError, match=r"is there already: replace it with --force, or give .* --name"):
        run_import(*paths)
    assert listing(tree) == before
    run_import(*paths, name="other-1")
    assert listing(tree)["other-1"] == IMAGE


def test_replacing_leaves_nothing_of_what_was_there(tree: Path, tmp_path: Path, run_import: Import) -> None:
    """A command line that the new set has not is gone with the old one; a rule file is the operator's, and stays."""
    run_import(*write(tmp_path / "old", ROOT_KIWI_10), over="aoe")
    assert listing(tree)[f"{NAME}.toml"] == b'root = "aoe"\n'
    run_import(*write(tmp_path / "new", ROOT_SETS["pxe 8 to 9.4.0"]), force=True)
    suffixes = ("kernel", "initrd", "md5", "sha256", "toml")
    assert set(listing(tree)) == {NAME, *(f"{NAME}.{suffix}" for suffix in suffixes)}


def test_an_operators_rule_file_is_not_replaced(tree: Path, tmp_path: Path, run_import: Import) -> None:
    """It may have been there before the image."""
    (tree / "image").mkdir()
    (tree / f"image/{NAME}.toml").write_text('append = "quiet"\n')
    paths = write(tmp_path / "set", ROOT_KIWI_10)
    with pytest.raises(OperatorError, match=r"\.toml is there already"):
        run_import(*paths, over="aoe")
    run_import(*paths)
    assert listing(tree)[f"{NAME}.toml"] == b'append = "quiet"\n'


def change(files: Files, **changes: bytes | None) -> dict[str, bytes]:
    """A set with files changed by their suffixes ("" is the image), or without them."""
    changed = {f"{NAME}{suffix.replace('_', '.')}": content for suffix, content in changes.items()}
    return {name: content for name, content in {**files, **changed}.items() if content is not None}


OTHER_IMAGE = bytes(len(IMAGE)).replace(b"\0\0\0\0", b"hsqs", 1)
WRONG: dict[str, tuple[dict[str, bytes], str]] = {
    "another image": (change(ROOT_KIWI_10, **{"": IMAGE[:-1] + b"?"}), r"its checksum is another: fetch it anew"),
    "a longer image": (change(ROOT_KIWI_10, **{"": IMAGE + b"?"}), r"it has 8193 bytes, not 8192"),
    "no checksum file": (change(ROOT_KIWI_10, _sha256=b"<html>"), r"sha256 is no checksum file: leave it out"),
    "no initrd": (change(ROOT_KIWI_10, _initrd=None), r"there is a kernel beside .* but no initrd"),
    "no image": (change(ROOT_KIWI_10, **{"": None}), r"there is no image of a root file system"),
    "a shell's words": (change(ROOT_KIWI_10, _append=b"quiet;reboot"), r"'quiet;reboot', which is no plain word"),
    "two kernels": ({**ROOT_KIWI_10, "other.kernel": KERNEL + b"1"}, r"there are several kernels"),
    "two images": ({**ROOT_KIWI_10, "other": OTHER_IMAGE}, r"there are several files that are each the image"),
}


@pytest.mark.parametrize("what", WRONG)
def test_sets_that_are_not_whole(tree: Path, tmp_path: Path, run_import: Import, what: str) -> None:
    """Are refused with one line, and nothing of them is left."""
    files, message = WRONG[what]
    with pytest.raises(OperatorError, match=message):
        run_import(*write(tmp_path / "set", files))
    assert listing(tree) == {}


def test_a_bomb_is_refused_where_it_passes_its_claim(tree: Path, tmp_path: Path, run_import: Import) -> None:
    """However little its bytes are: the checksum file says how much an image is."""
    files = {**ROOT_SETS["kis 9.20, xz"], f"{NAME}.md5": md5_line(IMAGE[:4096])}
    with pytest.raises(OperatorError, match=r"it has more than 4096 bytes"):
        run_import(*write(tmp_path / "set", files))
    assert listing(tree) == {}


def test_a_full_disk_is_seen_before(
    tree: Path, tmp_path: Path, run_import: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The image is not written at all then, and nothing else is left."""
    paths = write(tmp_path / "set", ROOT_KIWI_10)
    monkeypatch.setattr("appliance.importing.staging.RESERVE", 1 << 60)
    with pytest.raises(OperatorError, match=r"has no room for .* bytes free: make room there"):
        run_import(*paths)
    assert listing(tree) == {}


@pytest.mark.parametrize("name", ["-x", "a b", "a/b", "a.xz.1"])
def test_names_that_clients_would_not_take(tmp_path: Path, run_import: Import, name: str) -> None:
    """A shell's options, blanks, folders; and what kiwi-dump replaces everywhere in an URL."""
    with pytest.raises(OperatorError, match="is no name that every client takes"):
        run_import(*write(tmp_path / "set", ROOT_KIWI_10), name=name)


def test_two_imports_at_once(tree: Path, tmp_path: Path, run_import: Import) -> None:
    """The second is refused: it would sweep away what the first has written."""
    paths = write(tmp_path / "set", ROOT_KIWI_10)
    (tree / "image").mkdir()
    lock = ["flock", str(tree / "image"), "sh", "-c", "echo locked; read end"]
    with subprocess.Popen(lock, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        with pytest.raises(OperatorError, match=r"another import into .* is under way"):
            run_import(*paths)
        other.communicate(b"\n")
    run_import(*paths)


FULL = """
import sys
from appliance.importing import staging
staging.RESERVE = 0
from appliance.cli import main
main()
"""


@pytest.mark.root
def test_a_disk_that_becomes_full(tree: Path, tmp_path: Path) -> None:
    """Of an image without a checksum nobody knows how much it unpacks to: what was written of it is gone then."""
    image = IMAGE[:4096] + bytes(20 << 20)
    files = {f"{NAME}.xz": lzma.compress(image), f"{NAME}.initrd": INITRD, f"{NAME}.kernel": KERNEL}
    paths = write(tmp_path / "set", files)
    (tree / "image").mkdir()
    steps = 'mount -t tmpfs -o size=8m full "$1" && shift && { "$@"; echo "status $?"; ls -A "$TREE/image"; }'
    command = [sys.executable, "-c", FULL, "import", "--root", str(tree), *map(str, paths)]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", steps, "sh", str(tree / "image"), *command],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path.cwd()), "TREE": str(tree)},
    )
    assert done.stdout == "status 2\n"
    assert done.stderr.startswith(f"rootwire: {tree / 'image'} has no room for it: make room there")


KILLED = """
import os, signal, sys
from appliance.importing import staging
STEPS = int(sys.argv.pop(1))
real, done = os.fsync, 0
def fsync(file):
    global done
    if done == STEPS:
        os.kill(os.getpid(), signal.SIGKILL)
    done += 1
    real(file)
os.fsync = fsync
from appliance.cli import main
main()
"""


@pytest.mark.parametrize("steps", [0, 4, 9, 11])
def test_killed_at_any_step(tree: Path, tmp_path: Path, run_import: Import, steps: int) -> None:
    """What is there of the image is all of it, with all that it needs; the next import takes up where it was."""
    paths = write(tmp_path / "set", ROOT_KIWI_10)
    command = [sys.executable, "-c", KILLED, str(steps), "import", "--root", str(tree), *map(str, paths)]
    killed = subprocess.run(
        command, capture_output=True, check=False, env={**os.environ, "PYTHONPATH": str(Path.cwd())}
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    there = {name: content for name, content in listing(tree).items() if not name.startswith(".")}
    if NAME in there:
        assert (there[NAME], there[f"{NAME}.kernel"], there[f"{NAME}.initrd"]) == (IMAGE, KERNEL, INITRD)
    run_import(*paths, force=NAME in there)
    assert not [name for name in listing(tree) if name.startswith(".")]
