"""One file dropped into image/, from the look into it to the menu that boots it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from appliance.config import Config
from appliance.deployment import deployments
from appliance.deployment.choices import Choices
from appliance.deployment.deployments import Deployments, OwnInitrd
from appliance.errors import OperatorError
from appliance.images.catalog import Catalog
from appliance.images.changes import Changes
from appliance.plan import Plans
from appliance.timeline.stage import Stage
from appliance.timeline.story import stage_of_file
from appliance.tree import Tree
from storage.image import Image
from tests.appliance.deployment import archives
from tests.appliance.deployment.archives import VERSION, archive, kernel
from tests.appliance.deployment.conftest import Files, MakeImage

SERVER = "10.77.0.2"
CLIENT = "10.77.0.51"
MAC = "52:54:00:77:00:01"
KERNEL = f"/boot/vmlinuz-{VERSION}"
INITRD = f"/boot/initrd.img-{VERSION}"
INSIDE = f"image/edge-1/-{KERNEL}"


class Box:
    """A boot tree's folder, and what serves it; `look` is what the appliance's thread does every few seconds."""

    def __init__(self, root: Path, **config: object) -> None:
        self.folder = root / "image"
        self.catalog = Catalog(self.folder)
        self.catalog.load()
        self.now = 0.0
        self.deployments = Deployments(self.catalog, self.folder, root / "kept", clock=lambda: self.now)
        self.deployments.load_rules()
        choices = Choices(self.deployments, server=SERVER)
        self.plans = Plans(Config.model_validate(config), self.catalog, server=SERVER, choices=choices)
        self.tree = Tree(
            root,
            catalog=self.catalog,
            plans=self.plans,
            server=SERVER,
            own_initrd=self.deployments.own_initrd,
            find_loader=lambda name: None,
        )

    def look(self) -> None:
        """Take up new images and whatever they need."""
        self.catalog.refresh()
        self.catalog.follow(Changes().look(self.catalog))
        self.deployments.refresh(self.plans.needs_own)

    async def text(self, name: str) -> str:
        """What a machine reads under `name`."""
        return content(await self.tree.open(name, CLIENT)).decode()


def content(image: Image) -> bytes:
    """All bytes of an image."""
    return image.read_at(0, image.size)


MakeBox = Callable[..., Box]


@pytest.fixture
def box_of(make_image: MakeImage, tmp_path: Path) -> MakeBox:
    """box_of(images, **config): a tree that holds nothing but images, each of some files."""

    def make(images: dict[str, Files], **config: object) -> Box:
        (tmp_path / "srv/image").mkdir(parents=True)
        for name, files in images.items():
            make_image(tmp_path / "srv/image" / name, files)
        return Box(tmp_path / "srv", **config)

    return make


def bootable(files: dict[str, bytes], version: str = VERSION) -> Files:
    """An image with a kernel and an initramfs of these files."""
    return {f"/boot/vmlinuz-{version}": kernel(version), f"/boot/initrd.img-{version}": archive(files)}


async def test_one_file_is_the_whole_deployment(box_of: MakeBox) -> None:
    """Menu, script, kernel and initramfs all come out of it."""
    box = box_of({"edge-1": bootable(archives.KIWI_OVERLAY)})
    box.look()
    line = f"root=overlay:nbd={SERVER}:edge-1 ip=dhcp rd.neednet=1 rd.driver.pre=nbd"
    menu = await box.text("pxelinux.cfg/default")
    assert f"LINUX {INSIDE}\n  APPEND initrd=image/edge-1/-{INITRD} {line}\n  IPAPPEND 2" in menu
    script = await box.text("boot.ipxe")
    assert f"kernel {INSIDE} initrd=initrd.img-{VERSION} {line} BOOTIF=" in script
    assert f"initrd --name initrd.img-{VERSION} image/edge-1/-{INITRD} ||" in script
    assert content(await box.tree.open(INSIDE, CLIENT)) == kernel()
    assert content(await box.tree.open(f"image/edge-1/-{INITRD}", CLIENT)) == archive(archives.KIWI_OVERLAY)


async def test_until_it_has_been_looked_into_the_machine_waits(box_of: MakeBox) -> None:
    """Rather than boot something else, or nothing."""
    box = box_of({"edge-1": bootable(archives.LIVENET)})
    assert "echo rootwire: looking into edge-1 for a kernel" in await box.text("boot.ipxe")
    assert "SAY rootwire: looking into edge-1" in await box.text("pxelinux.cfg/default")
    box.look()
    assert "root=live:http" in await box.text("boot.ipxe")


@pytest.mark.parametrize(
    ("config", "files", "said"),
    [
        ({}, archives.LIVE_BOOT, f"fetch=http://{SERVER}/image/edge-1.squashfs"),
        ({}, archives.KIWI_OVERLAY, "root=overlay:nbd="),
        ({}, archives.LIVE_BOOT | archives.NBD_CLIENT, "fetch=http://"),
        ({"boot": {"root": "nbd"}}, archives.LIVE_BOOT | archives.NBD_CLIENT, f"nbdroot={SERVER},edge-1,nbd0 "),
        ({"boot": {"root": "aoe"}}, archives.KIWI_OVERLAY, "root=overlay:aoe=e0.1 "),
        ({"machines": {MAC: {"root": "aoe"}}}, archives.KIWI_OVERLAY, "root=overlay:aoe=e0.1 "),
        ({"boot": {"append": "quiet"}}, archives.NBD_CLIENT, "ip=dhcp quiet"),
    ],
)
async def test_the_root_is_what_is_asked_for_or_what_the_initramfs_can(
    box_of: MakeBox, config: dict[str, object], files: dict[str, bytes], said: str
) -> None:
    """An initramfs that only knows RAM is booted so where nobody says otherwise."""
    box = box_of({"edge-1": bootable(files)}, **config)
    box.look()
    assert said in await box.text("boot-52-54-00-77-00-01.ipxe")


async def test_live_boot_gets_the_image_by_the_name_it_needs(box_of: MakeBox) -> None:
    """With the ending that says what it is."""
    box = box_of({"edge-1": bootable(archives.LIVE_BOOT)})
    whole = await box.tree.open("image/edge-1.squashfs", CLIENT)
    assert whole.size == (box.folder / "edge-1").stat().st_size
    assert stage_of_file("image/edge-1.squashfs", box.tree.repertoire()) is Stage.ROOT_LOADING


async def test_a_kernel_of_the_operators_wins(box_of: MakeBox) -> None:
    """Today's tree boots as today, and its images are not looked into."""
    box = box_of({"edge-1": bootable(archives.KIWI_OVERLAY)})
    (box.folder.parent / "boot").mkdir()
    (box.folder.parent / "boot/linux").write_bytes(kernel())
    assert not box.tree.images_boot()
    assert "kernel boot/linux initrd=initrd kiwiserver=" in await box.text("boot.ipxe")


async def test_every_image_that_names_its_root_is_a_choice(box_of: MakeBox) -> None:
    """The machine's first; one that our own client would boot is not, since that boots the machine's image."""
    images = {"a-1": bootable(archives.LIVENET), "b-1": bootable(archives.KIWI_OVERLAY), "c-1": bootable(archives.OWN)}
    box = box_of(images, boot={"image": "b-1"})
    box.look()
    menu = box.tree.menu(None)
    assert [choice.label for choice in menu.choices] == ["b-1", "a-1"]
    assert menu.default == "b-1"


async def test_the_timeline_knows_kernel_and_initramfs(box_of: MakeBox) -> None:
    """Of any image, by any root; other files inside are no stage of a boot."""
    box = box_of({"edge-1": bootable(archives.KIWI_OVERLAY)})
    box.look()
    menu = box.tree.repertoire()
    stages = {
        path: stage_of_file(path, menu) for path in (INSIDE, f"image/edge-1/-{INITRD}", "image/edge-1/-/etc/motd")
    }
    assert list(stages.values()) == [Stage.KERNEL, Stage.INITRD, None]
    assert stage_of_file("image/edge-1", menu) is Stage.ROOT_LOADING


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"/etc/motd": b"x"}, "edge-1 does not boot by itself, it holds no kernel"),
        ({KERNEL: kernel(), INITRD: archive(archives.LOCAL)}, f"the image has no modules for its kernel {VERSION}"),
    ],
)
async def test_what_does_not_boot_says_so_on_the_machines_screen(box_of: MakeBox, files: Files, said: str) -> None:
    """With the reason, and goes on asking: the operator may mend it meanwhile."""
    box = box_of({"edge-1": files}, boot={"root": "nbd"})
    box.look()
    assert said in await box.text("boot.ipxe")
    assert "chain --replace --autofree boot.ipxe" in await box.text("boot.ipxe")


async def test_a_damaged_image_is_one_that_does_not_boot(box_of: MakeBox) -> None:
    """And no reason for the appliance to end."""
    box = box_of({"edge-1": bootable(archives.LIVENET)})
    path = box.folder / "zz-1"
    path.write_bytes((box.folder / "edge-1").read_bytes()[:96] + b"\xff" * 8000)
    box.look()
    assert box.deployments.get("edge-1") is not None
    found = box.deployments.get("zz-1")
    assert found is None or "damaged" in found.problem


async def test_an_empty_tree_says_that_there_is_nothing(box_of: MakeBox) -> None:
    """Neither image nor kernel."""
    assert "there is no image in image/" in await box_of({}).text("boot.ipxe")


async def test_a_rule_file_is_followed_when_it_changes(box_of: MakeBox) -> None:
    """Written later, changed, wrong, removed."""
    box = box_of({"edge-1": bootable(archives.KIWI_OVERLAY)})
    box.look()
    rule = box.folder / "edge-1.toml"
    rule.write_text('root = "aoe"\nappend = "quiet"\n')
    box.look()
    assert "root=overlay:aoe=e0.1 ip=dhcp rd.neednet=1 rd.driver.pre=aoe quiet" in await box.text("boot.ipxe")
    rule.write_text('rooot = "nbd"\n')
    box.look()
    assert "root=overlay:aoe" in await box.text("boot.ipxe")
    rule.unlink()
    box.look()
    assert "root=overlay:nbd" in await box.text("boot.ipxe")


def test_a_rule_file_that_is_wrong_at_the_start_is_the_operators_to_mend(box_of: MakeBox) -> None:
    """As anything else that can't work."""
    box = box_of({"edge-1": bootable(archives.LIVENET)})
    (box.folder / "edge-1.toml").write_text("x = 1\n")
    with pytest.raises(OperatorError, match=r"edge-1\.toml, x"):
        Box(box.folder.parent)


async def test_a_stopped_one_does_nothing(box_of: MakeBox) -> None:
    """The appliance ends while an image is being looked into."""
    box = box_of({"edge-1": bootable(archives.LIVENET)})
    box.deployments.stop()
    box.look()
    assert box.deployments.get("edge-1") is None
    assert box.deployments.own_initrd("edge-1") == OwnInitrd()


@pytest.mark.parametrize("has_tools", [True, False])
async def test_machines_with_disks_are_given_more(
    box_of: MakeBox, monkeypatch: pytest.MonkeyPatch, has_tools: bool
) -> None:
    """Beside the initramfs, and kept as long; where its tools are not installed that is said, and the rest works."""

    def make(
        _files: object, _modules: str, _version: str, output: Path, *, extra: Path | None, progress: object
    ) -> None:
        output.write_bytes(b"initramfs")
        if extra is not None:
            extra.write_bytes(b"for disks")

    monkeypatch.setattr(deployments, "make_own_initrd", make)
    monkeypatch.setattr(deployments, "has_extra_tools", lambda: has_tools)
    box = box_of({"edge-1": {KERNEL: kernel(), f"/usr/lib/modules/{VERSION}/modules.dep": b""}})
    with structlog.testing.capture_logs() as logged:
        box.look()
    assert ("extra_archive_missing" in {line["event"] for line in logged}) is not has_tools
    assert " rootwire.extra=initrd/edge-1.extra " in await box.text("boot.ipxe")
    assert await box.text("initrd/edge-1") == "initramfs"
    if has_tools:
        assert await box.text("initrd/edge-1.extra") == "for disks"
    else:
        with pytest.raises(FileNotFoundError):
            await box.text("initrd/edge-1.extra")


async def test_a_folder_that_cannot_be_written_is_said_and_survived(box_of: MakeBox) -> None:
    """Where the initramfs would be kept there is a file."""
    files = {KERNEL: kernel(), f"/usr/lib/modules/{VERSION}/modules.dep": b"kernel/nbd.ko:\n"}
    box = box_of({"edge-1": files})
    (box.folder.parent / "kept").write_text("in the way")
    box.look()
    assert "it is where initramfs archives are kept" in await box.text("boot.ipxe")


async def test_what_failed_is_tried_again(box_of: MakeBox) -> None:
    """A minute later, then two, and so on to an hour: what was in the way may be gone."""
    files = {KERNEL: kernel(), f"/usr/lib/modules/{VERSION}/modules.dep": b"kernel/nbd.ko:\n"}
    box = box_of({"edge-1": files})
    (box.folder.parent / "kept").write_text("in the way")
    with structlog.testing.capture_logs() as logged:
        for second in (0.0, 59.0, 60.0, 179.0, 180.0):
            box.now = second
            box.look()
        box.now = 1e6
        for _ in range(20):
            box.now += 3601.0
            box.look()
        (box.folder.parent / "kept").unlink()
        box.now += 3601.0
        box.look()
    tries = [line for line in logged if line["event"] == "initramfs_not_made"]
    assert [line["next_try_seconds"] for line in tries[:4]] == [60.0, 120.0, 240.0, 480.0]
    assert tries[-2]["next_try_seconds"] == 3600.0
    assert "it is where initramfs archives are kept" in tries[-2]["reason"]
    assert "which its own tables name" in tries[-1]["reason"], "the folder is no hindrance any more"


async def test_an_image_that_was_written_to_is_looked_into_again(box_of: MakeBox, make_image: MakeImage) -> None:
    """What was found in it, and what went wrong with it, was of what it held before."""
    box = box_of({"edge-1": {KERNEL: kernel(), f"/usr/lib/modules/{VERSION}/modules.dep": b"kernel/nbd.ko:\n"}})
    box.look()
    assert "which its own tables name" in await box.text("boot.ipxe")
    make_image(box.folder.parent / "new", bootable(archives.LIVENET))
    (box.folder / "edge-1").write_bytes((box.folder.parent / "new").read_bytes())
    box.look()
    assert "root=live:http" in await box.text("boot.ipxe")


async def test_an_initramfs_that_cannot_be_made_is_said_and_survived(box_of: MakeBox) -> None:
    """The image's tables name modules that it does not have."""
    files = {KERNEL: kernel(), f"/usr/lib/modules/{VERSION}/modules.dep": b"kernel/nbd.ko:\n"}
    box = box_of({"edge-1": files})
    box.look()
    assert f"/usr/lib/modules/{VERSION}/kernel/nbd.ko, which its own tables name" in await box.text("boot.ipxe")
