"""ISOs that firmware makes a disk of in its memory: which machines get one, and which settings can't be."""

from dataclasses import replace
from pathlib import Path

import pytest

from appliance.config import Config
from appliance.deployment.choices import Choices
from appliance.deployment.deployments import Deployments
from appliance.errors import OperatorError
from appliance.images.catalog import Catalog
from appliance.offers.policy import make_plan
from appliance.plan import Plans
from appliance.tree import Tree
from protocols.dhcp.offer import Offer, Refusal
from protocols.dhcp.request import Architecture
from tests.appliance.offers.test_policy import BOX, nothing_missing, request

MAC = "52:54:00:77:00:01"
ISO = bytes(32769) + b"CD001" + bytes(2000)  # nothing in it that a loader could boot
SQUASHFS = b"hsqs" + bytes(36) + (4096).to_bytes(8, "little") + bytes(4048)
URL = "http://10.77.0.2/image/tool.iso"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A tree with an ISO, the same under a name that firmware does not know it by, and a squashfs."""
    (tmp_path / "image").mkdir()
    for name, content in {"tool.iso": ISO, "tool": ISO, "edge-1": SQUASHFS}.items():
        (tmp_path / "image" / name).write_bytes(content)
    return tmp_path


def tree_of(root: Path, machine: dict[str, str], *, is_surveyed: bool = True) -> Tree:
    """A tree whose one machine is set so; `is_surveyed`: its images were looked into."""
    catalog = Catalog(root / "image")
    catalog.load()
    deployments = Deployments(catalog, root / "image", root / "kept")
    if is_surveyed:
        deployments.refresh(lambda entry, found: False)
    config = Config.model_validate({"machines": {MAC: machine}})
    plans = Plans(config, catalog, server=BOX, choices=Choices(deployments, server=BOX))
    plans.check()
    return Tree(root, catalog=catalog, plans=plans, server=BOX)


@pytest.mark.parametrize(
    ("machine", "medium"),
    [
        ({"image": "tool.iso", "uefi_loader": "iso"}, "image/tool.iso"),
        ({"image": "tool.iso"}, "image/tool.iso"),
        ({"image": "tool.iso", "uefi_loader": "ipxe"}, None),
        ({"image": "tool"}, None),
        ({"image": "edge-1"}, None),
        ({}, None),
    ],
)
def test_which_machines_get_one(root: Path, machine: dict[str, str], medium: str | None) -> None:
    """Where that is set, or nothing else would boot it; a medium is never a machine's by itself."""
    assert tree_of(root, machine).medium(MAC) == medium


def test_not_before_it_was_looked_into(root: Path) -> None:
    """It may have a kernel that a loader can boot."""
    assert tree_of(root, {"image": "tool.iso"}, is_surveyed=False).medium(MAC) is None


def test_an_operators_kernel_comes_first(root: Path) -> None:
    """The ISO is then what that kernel's client asks for."""
    (root / "boot").mkdir()
    (root / "boot/linux").write_bytes(b"kernel")
    assert tree_of(root, {"image": "tool.iso"}).medium(MAC) is None
    assert tree_of(root, {"image": "tool.iso", "uefi_loader": "iso"}).medium(MAC) == "image/tool.iso"


@pytest.mark.parametrize("image", ["edge-1", "tool", None])
def test_a_setting_that_cannot_be(root: Path, image: str | None) -> None:
    """No ISO, or not by its name, which is all that firmware has to go by."""
    named = {} if image is None else {"image": image}
    with pytest.raises(OperatorError, match=r'uefi_loader = "iso", but its image is .*: name an ISO whose name ends'):
        tree_of(root, {"uefi_loader": "iso", **named})


@pytest.mark.parametrize(
    ("architecture", "is_set", "outcome"),
    [
        (Architecture.X64_UEFI_HTTP, True, URL),
        (Architecture.ARM64_UEFI_HTTP, False, URL),
        (Architecture.X64_UEFI, False, "snponly.efi"),
        (Architecture.X64_UEFI, True, None),
        (Architecture.X86_BIOS, True, "pxelinux.0"),
    ],
)
def test_offers(architecture: Architecture, is_set: bool, outcome: str | None) -> None:
    """UEFI HTTP boot gets it; PXE of UEFI waits for that where it was asked for, and BIOS is not concerned."""
    asking = request(architecture)
    if architecture.name.endswith("_HTTP"):
        asking = replace(asking, vendor_class=f"HTTPClient:Arch:{architecture:05}")
    plan = make_plan(
        BOX,
        uefi_loader=lambda mac: "iso" if is_set else "auto",
        medium=lambda mac: "image/tool.iso",
        missing=nothing_missing,
    )
    offered = plan(asking)
    assert (offered.boot_file if isinstance(offered, Offer) else None) == outcome
    assert not isinstance(offered, Refusal) or offered.is_wanted


def test_the_setting_without_an_iso(root: Path) -> None:
    """A machine whose own image is no ISO, where [boot] says iso, is given a loader."""
    plan = make_plan(BOX, uefi_loader=lambda mac: "iso", missing=nothing_missing)
    assert plan(request(Architecture.X64_UEFI)) == Offer("snponly.efi")
