"""The command line as an operator meets it: help with examples, and one line for every mistake."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.storage.squashfs.trees import make_image

ROOTWIRE = [sys.executable, "-c", "from appliance.cli import main; main()"]
IMAGE = b"hsqs" + bytes(36) + (4096).to_bytes(8, "little") + bytes(4048)
NOBODY = 65534
AS_NOBODY = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--bounding-set=-all")


def rootwire(*arguments: str | Path, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    command = [*prefix, *ROOTWIRE, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on standard error of a command that refused with status 2."""
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("rootwire: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A boot tree with one image."""
    (tmp_path / "image").mkdir()
    (tmp_path / "image/edge-1").write_bytes(IMAGE)
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        *[(), ("serve",), ("status",), ("explain",), ("doctor",), ("heat",), ("exports",), ("initrd",), ("leases",)],
        *[("ls",), ("cat",), ("show",)],
    ],
)
def test_help_has_examples(command: tuple[str, ...]) -> None:
    """Every command says what it does and shows how."""
    done = rootwire(*command, "--help")
    assert done.returncode == 0
    assert "rootwire" in done.stdout
    assert not command or "Examples" in done.stdout


def test_version() -> None:
    """A name and a number."""
    assert rootwire("--version").stdout.startswith("rootwire 0.")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("serve", "--interface", "lo"), "no boot tree was named"),
        (("serve", "--interface", "lo", "--root", "/nonesuch"), "boot tree /nonesuch does not exist"),
        (("serve", "--interface", "lo", "--root", "/etc/hostname"), "boot tree /etc/hostname is no folder"),
        (("serve", "--interface", "nonesuch0", "--root", "/"), "interface nonesuch0 does not exist"),
        (("serve", "--config", "/nonesuch.toml"), "configuration /nonesuch.toml"),
        (("serve", "--no-such-option"), "--no-such-option"),
        (("frobnicate",), "frobnicate"),
        (("initrd", "--output", "x"), "--kernel"),
        (("status", "--socket", "/nonesuch.sock"), "/nonesuch.sock"),
        (("heat", "root", "--socket", "/nonesuch.sock"), "/nonesuch.sock"),
        (("ls", "/nonesuch"), "image /nonesuch: No such file"),
        (("cat", "/etc/hostname", "/x"), "image /etc/hostname holds no known file system"),
        (("cat", "/etc/hostname"), "PATH"),
        (("show", "/"), "image / can't be read"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], named: str) -> None:
    """Naming the thing; no traceback; status 2."""
    assert named in complaint(rootwire(*arguments))


def test_a_broken_configuration_names_file_and_place(tmp_path: Path) -> None:
    """TOML's own message has line and column."""
    (tmp_path / "r.toml").write_text("[boot\n")
    told = complaint(rootwire("serve", "--config", tmp_path / "r.toml"))
    assert "r.toml is no TOML" in told
    assert "line 1" in told


@pytest.mark.parametrize("content", [b"", b"not an image\n", IMAGE[:1000]])
def test_a_file_that_is_no_image_stops_the_start(tree: Path, content: bytes) -> None:
    """The client it was meant for would have hung on it."""
    (tree / "image/broken-1").write_bytes(content)
    told = complaint(rootwire("serve", "--interface", "lo", "--root", tree))
    assert "image/broken-1" in told
    assert "move it out of image/" in told


def test_an_image_that_is_set_but_absent_is_named(tree: Path) -> None:
    """With those there are."""
    (tree / "r.toml").write_text('[boot]\nimage = "other-1"\n')
    told = complaint(rootwire("serve", "--interface", "lo", "--root", tree, "--config", tree / "r.toml"))
    assert "'other-1' is not in image/" in told
    assert "edge-1" in told


def test_looking_into_an_image(tool: Callable[[str], str], tmp_path: Path) -> None:
    """Each of the commands, as a user runs them; a path's bytes survive the way through the command line."""
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / os.fsdecode(b"gr\xf6\xdfe")).write_text("hello\n")
    image = make_image(tool, tmp_path / "root", tmp_path / "image")
    assert rootwire("ls", image, "--json").stdout.startswith('[{"path": "gr\\udcf6\\udcdfe", "kind": "file"')
    assert rootwire("cat", image, os.fsdecode(b"/gr\xf6\xdfe"), "--offset", "1").stdout == "ello\n"
    assert "1 file\n" in rootwire("show", image).stdout


@pytest.mark.root
def test_a_missing_capability_is_named(tree: Path) -> None:
    """An ordinary user is told which rights are missing."""
    os.chown(tree, NOBODY, NOBODY)
    for folder in (tree, *tree.parents):
        folder.chmod(folder.stat().st_mode | 0o055)
    told = complaint(rootwire("serve", "--interface", "lo", "--root", tree, "--socket", tree / "s", prefix=AS_NOBODY))
    assert "CAP_NET_BIND_SERVICE" in told


@pytest.mark.root
def test_a_tree_that_may_not_be_read_is_named(tree: Path) -> None:
    """An ordinary user is told that a folder on the way to the tree is closed to him."""
    inner = tree / "netboot"
    inner.mkdir()
    tree.chmod(0o700)
    told = complaint(rootwire("serve", "--interface", "lo", "--root", inner, prefix=AS_NOBODY))
    assert f"boot tree {inner}: Permission denied: let the user" in told


@pytest.mark.root
@pytest.mark.parametrize(("port", "kind", "service"), [(4011, "udp", "PXE boot server"), (10809, "tcp", "NBD")])
def test_a_port_in_use_names_service_and_holder(tree: Path, port: int, kind: str, service: str) -> None:
    """In a namespace of its own, where a child process holds the port on every address."""
    script = f"""
import socket, subprocess, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if {kind!r} == "udp" else socket.SOCK_STREAM)
s.bind(("0.0.0.0", {port}))
if {kind!r} == "tcp": s.listen()
sys.exit(subprocess.run(sys.argv[1:]).returncode)
"""
    prefix = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", sys.executable, "-c", script)
    told = complaint(rootwire("serve", "--interface", "lo", "--root", tree, "--socket", tree / "s", prefix=prefix))
    assert f"{service}: {kind.upper()} port {port} on 127.0.0.1 is in use by" in told
    assert "pid" in told


@pytest.mark.root
def test_a_second_appliance_is_told_of_the_first(tree: Path) -> None:
    """Its API socket answers."""
    with socket.socket(socket.AF_UNIX) as first:
        first.bind(str(tree / "s"))
        first.listen()
        prefix = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
        told = complaint(rootwire("serve", "--interface", "lo", "--root", tree, "--socket", tree / "s", prefix=prefix))
    assert "another rootwire answers" in told
