"""`rootwire show`: one page about an image."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.errors import OperatorError
from appliance.images.portrait import show_image
from tests.appliance.deployment import archives
from tests.appliance.deployment.archives import VERSION, archive, kernel
from tests.storage.squashfs.trees import make_image

Tool = Callable[[str], str]


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """The folder of a small system."""
    root = tmp_path / "root"
    for folder in ("etc", "boot", "usr/lib/modules/6.1.0-42-amd64"):
        (root / folder).mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    (root / "etc/os-release").write_text('ID=debian\nPRETTY_NAME="Debian GNU/Linux 12"\nNAME=x\n')
    (root / "boot/vmlinuz-6.1.0-42-amd64").write_bytes(bytes(1_000_000))
    (root / "boot/again").hardlink_to(root / "boot/vmlinuz-6.1.0-42-amd64")
    return root


def shown(image: Path) -> str:
    """The page."""
    out = io.BytesIO()
    show_image(image, out)
    return out.getvalue().decode()


def test_the_page(tool: Tool, system: Path, tmp_path: Path) -> None:
    """Packing, contents, system, kernels, what lies in /boot."""
    page = shown(make_image(tool, system, tmp_path / "image", "-comp", "zstd", "-Xcompression-level", "3"))
    assert "squashfs 4.0, zstd (level 3), blocks of 128 KiB" in page
    assert "3 files" in page
    assert "1 symlink" in page
    assert "system   Debian GNU/Linux 12\n" in page
    assert "kernels  6.1.0-42-amd64\n" in page
    assert "/boot    again  1.0 MB\n         vmlinuz-6.1.0-42-amd64  1.0 MB\n" in page


def test_json(tool: Tool, system: Path, tmp_path: Path) -> None:
    """The same, as numbers; a file with two names is one file's bytes."""
    image = make_image(tool, system, tmp_path / "image")
    out = io.BytesIO()
    show_image(image, out, as_json=True)
    report = json.loads(out.getvalue())
    assert report["size"] == image.stat().st_size
    assert report["compressor"] == "gzip"
    assert report["kinds"]["file"] == 3
    assert 1_000_000 < report["content"] < 1_000_100
    assert report["kernels"] == ["6.1.0-42-amd64"]


def test_an_image_need_not_be_a_system(tool: Tool, tmp_path: Path) -> None:
    """An empty folder is an image too."""
    (tmp_path / "root").mkdir()
    page = shown(make_image(tool, tmp_path / "root", tmp_path / "image"))
    assert "holds    nothing\n" in page
    assert "unknown: it has no /etc/os-release" in page
    assert "none: nothing in /lib/modules" in page
    assert "boots    not by itself: it holds no kernel" in page


def bootable(tool: Tool, tmp_path: Path) -> Path:
    """An image with a kernel and two initramfs archives, one of which mounts roots."""
    boot = tmp_path / "root/boot"
    boot.mkdir(parents=True)
    (boot / f"vmlinuz-{VERSION}").write_bytes(kernel())
    (boot / f"initrd.img-{VERSION}").write_bytes(archive(archives.LOCAL))
    (boot / "initrd").write_bytes(archive(archives.LIVE_BOOT))
    return make_image(tool, tmp_path / "root", tmp_path / "image")


def test_how_it_boots_by_itself(tool: Tool, tmp_path: Path) -> None:
    """Kernel, initramfs, which roots by whom, and what was passed over."""
    page = shown(bootable(tool, tmp_path))
    assert f"boots    /boot/vmlinuz-{VERSION} with /boot/initrd: ram by live-boot\n" in page
    assert f"passed over: /boot/initrd.img-{VERSION} can't mount a root" in page


def test_a_rule_file_beside_it_is_heeded(tool: Tool, tmp_path: Path) -> None:
    """As the appliance does; one that is none is named."""
    image = bootable(tool, tmp_path)
    (tmp_path / "image.toml").write_text('kernel = "/boot/none"\n')
    assert "boots    not by itself: its rule file's kernel /boot/none is not in it" in shown(image)
    (tmp_path / "image.toml").write_text("kernels = 5\n")
    with pytest.raises(OperatorError, match=r"image\.toml"):
        shown(image)


def test_a_kernel_beside_it_is_what_boots(tool: Tool, system: Path, tmp_path: Path) -> None:
    """As an import puts it there, whatever else is in the image."""
    image = make_image(tool, system, tmp_path / "image")
    (tmp_path / "image.kernel").write_bytes(kernel())
    (tmp_path / "image.initrd").write_bytes(archive(archives.KIWI_OVERLAY))
    out = io.BytesIO()
    show_image(image, out, as_json=True)
    boots = json.loads(out.getvalue())["boots"]
    assert (boots["kernel"], boots["initrd"], boots["version"]) == (".kernel", ".initrd", VERSION)
    assert boots["roots"] == {"nbd": "kiwi-overlay", "aoe": "kiwi-overlay"}


def test_a_hostile_name_reaches_no_terminal(tool: Tool, system: Path, tmp_path: Path) -> None:
    """Wherever it stands."""
    (system / "etc/os-release").write_bytes(b"PRETTY_NAME='\x1b]0;x\x07'\n")
    (system / "boot/\x1b[2J").touch()
    assert "\x1b" not in shown(make_image(tool, system, tmp_path / "image"))


def test_what_is_no_squashfs_is_named(tmp_path: Path) -> None:
    """As for ls."""
    (tmp_path / "text").write_text("hello\n")
    with pytest.raises(OperatorError, match="no known file system"):
        shown(tmp_path / "text")
