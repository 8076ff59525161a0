"""Disk images to be installed: which are offered, how they are told, and that nobody installs one by accident."""

from pathlib import Path

import pytest

from appliance.config import Config
from appliance.deployment.choices import Choices
from appliance.deployment.deployments import Deployments
from appliance.deployment.installs import Installs
from appliance.errors import OperatorError
from appliance.images.catalog import Catalog
from appliance.menus.model import Menu
from appliance.plan import Plans
from tests.appliance.deployment.archives import KIWI_LIVE, KIWI_OVERLAY, VERSION, archive, kernel

SERVER = "10.11.0.1"
NAME = "desk.x86_64-3.0.1"
MAC = "52:54:00:a1:b2:c3"
URL = f"http://{SERVER}/image/{NAME}.xz"
SET = (f"{NAME}.xz", f"{NAME}.sha256", f"{NAME}.kernel", f"{NAME}.initrd", f"pxeboot.{NAME}.initrd")
SQUASHFS = b"hsqs" + bytes(36) + (4096).to_bytes(8, "little") + bytes(4048)
ISO = bytes(32769) + b"CD001" + bytes(2000)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """The folder image/, empty."""
    folder = tmp_path / "image"
    folder.mkdir()
    return folder


def add_install(images: Path, words: str = "console=ttyS0") -> None:
    """Everything that the client asks for, as far as names go."""
    for name in SET:
        (images / name).write_bytes(b"x")
    (images / f"{NAME}.append").write_text(words)


def add_root(images: Path, name: str = "edge-1") -> None:
    """A root image with what boots it beside it."""
    (images / name).write_bytes(SQUASHFS)
    (images / f"{name}.kernel").write_bytes(kernel())
    (images / f"{name}.initrd").write_bytes(archive(KIWI_OVERLAY))


def add_medium(images: Path, name: str = "a.iso") -> None:
    """A live ISO likewise; its name comes first."""
    (images / name).write_bytes(ISO)
    (images / f"{name}.kernel").write_bytes(kernel())
    (images / f"{name}.initrd").write_bytes(archive(KIWI_LIVE))


def menu(images: Path, mac: str | None = None, **config: object) -> Menu:
    """The menu that a machine gets of what is in image/."""
    catalog = Catalog(images)
    catalog.load()
    deployments = Deployments(catalog, images, images.parent / "kept")
    settings = Config.model_validate(config)
    choices, installs = Choices(deployments, server=SERVER), Installs(images, server=SERVER)
    plans = Plans(settings, catalog, server=SERVER, choices=choices, installs=installs)
    plans.check()
    deployments.refresh(lambda entry, deployment: False)
    return plans.image_menu(mac)


def test_what_the_client_is_told(images: Path) -> None:
    """The image's URL, and the words that its builder wanted; loaded is what installs, not what is installed."""
    add_install(images)
    (choice,) = Installs(images, server=SERVER).choices("quiet")
    words = f"rd.kiwi.install.pxe rd.kiwi.install.image={URL} ip=dhcp rd.neednet=1 console=ttyS0 quiet"
    assert (choice.append, choice.ipappend) == (words, 2)
    assert (choice.kernel, choice.initrds) == (f"image/{NAME}.kernel", (f"image/pxeboot.{NAME}.initrd",))


def test_what_kiwis_own_client_is_told(images: Path) -> None:
    """That before dracut: it knows the image's name, and asks its server for it."""
    add_install(images, "pxe=1 quiet")
    (choice,) = Installs(images, server=SERVER).choices("")
    assert (choice.append, choice.ipappend) == (f"kiwiserver={SERVER} kiwiservertype=http pxe=1 quiet", 3)


@pytest.mark.parametrize("missing", [name for name in SET if name != f"{NAME}.initrd"])
def test_only_what_is_complete_is_offered(images: Path, missing: str) -> None:
    """A client that misses a file stops, and an import puts the last of them there last."""
    add_install(images)
    (images / missing).unlink()
    assert Installs(images, server=SERVER).names() == []


def test_a_hostile_word_is_left_out(images: Path) -> None:
    """An .append file may have come by any way."""
    add_install(images, "quiet ${reboot} a;b console=ttyS0")
    (choice,) = Installs(images, server=SERVER).choices("")
    assert choice.append.endswith("rd.neednet=1 quiet console=ttyS0")


def test_a_root_image_boots_and_the_others_are_chosen(images: Path) -> None:
    """The menu waits for a person, but not for ever, and then goes on with the root image."""
    add_root(images)
    add_medium(images)
    add_install(images)
    found = menu(images)
    assert [choice.label for choice in found.choices] == ["edge-1", "a.iso", f"install-{NAME}"]
    assert (found.default, found.timeout) == ("edge-1", 5.0)
    assert found.choices[0].append.startswith(f"root=overlay:nbd={SERVER}:edge-1")
    assert found.choices[1].append.startswith(f"root=live:http://{SERVER}/image/a.iso")


def test_without_a_root_image_machines_boot_their_disks(images: Path) -> None:
    """Neither a medium nor what installs is ever taken by itself: either may write over a disk."""
    add_medium(images)
    add_install(images)
    found = menu(images)
    assert [choice.label for choice in found.choices] == ["local", "a.iso", f"install-{NAME}"]
    assert (found.default, found.timeout) == ("local", 5.0)
    default = found.default_choice()
    assert default is not None
    assert default.is_local


def test_root_images_alone_need_no_menu(images: Path) -> None:
    """Nothing waits for anybody, unless the operator wants it to."""
    add_root(images)
    add_root(images, "other-1")
    assert menu(images).timeout == 0
    assert menu(images, boot={"menu_seconds": 30}).timeout == 30


@pytest.mark.parametrize("settings", [{"install": NAME}, {"image": "a.iso"}])
def test_a_machine_that_is_told_to(images: Path, settings: dict[str, str]) -> None:
    """Takes it at once, and no other does."""
    add_root(images)
    add_medium(images)
    add_install(images)
    label = settings.get("image") or f"install-{NAME}"
    assert menu(images, MAC, machines={MAC: settings}).default == label
    assert menu(images, "52:54:00:00:00:01", machines={MAC: settings}).default == "edge-1"


def test_what_is_not_there_is_a_mistake(images: Path) -> None:
    """Said at the start, not when the machine comes."""
    add_root(images)
    with pytest.raises(OperatorError, match=r"install = .* is nothing that image/ has all files of"):
        menu(images, machines={MAC: {"install": NAME}})


def test_what_is_beside_an_image_comes_before_what_is_in_it(images: Path) -> None:
    """Kernel, initramfs and words; a file that changes is looked at anew."""
    add_root(images)
    catalog = Catalog(images)
    catalog.load()
    deployments = Deployments(catalog, images, images.parent / "kept")
    deployments.refresh(lambda entry, deployment: False)
    found = deployments.get("edge-1")
    assert found is not None
    assert (found.kernel, found.initrd, found.version, found.words) == (".kernel", ".initrd", VERSION, "")
    (images / "edge-1.append").write_text("console=ttyS0")
    deployments.refresh(lambda entry, deployment: False)
    found = deployments.get("edge-1")
    assert found is not None
    assert found.words == "console=ttyS0"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("edge-1.kernel", b"no kernel", "its .kernel file is no kernel"),
        ("edge-1.initrd", b"no initrd", "its .initrd file is no initramfs"),
        ("edge-1.initrd", archive({"init": b""}), "can't mount it over the network"),
    ],
)
def test_what_is_wrong_with_it_is_on_the_screen(images: Path, name: str, content: bytes, problem: str) -> None:
    """Of every machine that would boot it."""
    add_root(images)
    (images / name).write_bytes(content)
    assert problem in menu(images).notice


def test_a_medium_that_is_damaged_says_so(images: Path) -> None:
    """On the screen of a machine that is to boot it."""
    (images / "a.iso").write_bytes(ISO)
    assert "it is damaged" in menu(images, MAC, machines={MAC: {"image": "a.iso"}}).notice
