"""A client's life: QEMU's command line, and what is made of the console of a process that plays QEMU."""

import asyncio
from pathlib import Path

import pytest

from deploy.lab import client as lab_client
from deploy.lab.client import CARDS, DISK_SIZE, OVMF, Client, qemu_command, run_client
from deploy.lab.console import Mark
from deploy.lab.plan import Card, ClientPlan
from deploy.lab.story import Step, Story

SUM = "0123456789abcdef0123456789abcdef"
BOOT = f"echo BOOT-USERSPACE uptime=1.0; echo BOOT-CHECKSUM files=2 md5={SUM}; echo BOOT-DONE uptime=2.0"


@pytest.fixture
def client(tmp_path: Path) -> Client:
    """A client that has not been powered on."""
    return Client(ClientPlan(0, "bios", "nbd"), tmp_path / "console")


async def play(client: Client, script: str, *, limit: float = 30.0) -> list[str]:
    """Run `script` in QEMU's place; returns the stages as they changed."""
    stages: list[str] = []
    command = ["sh", "-c", script]
    await run_client(client, command, namespace=None, limit=limit, on_change=lambda c: stages.append(c.stage))
    return list(dict.fromkeys(stages))


async def test_a_client_that_is_done_succeeded(client: Client) -> None:
    """It went through userspace, its checksum is known, and its console is in the log."""
    assert await play(client, BOOT) == ["firmware", "userspace", "done"]
    assert client.succeeded
    assert client.value(Mark.CHECKSUM, "md5") == SUM
    assert client.log.read_text().count("\n") == 3


async def test_a_client_that_goes_off_early_failed(client: Client) -> None:
    """Reaching userspace is not enough: the files were not read."""
    await play(client, "echo BOOT-USERSPACE uptime=1.0; exit 3")
    assert not client.succeeded
    assert client.failure == "went off before it was done (QEMU's status 3)"
    assert client.stage == "failed"


async def test_a_client_that_hangs_is_switched_off(client: Client) -> None:
    """The limit is said in the failure."""
    await play(client, "echo hanging; exec sleep 1000", limit=0.5)
    assert client.failure == "did not finish within 0 s"
    assert client.console.last_lines(1) == ["hanging"]


async def test_a_client_that_is_done_but_hangs_is_switched_off(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """It did all that it was to do; kernels lock up on their way off."""
    monkeypatch.setattr(lab_client, "OFF_LIMIT", 0.2)
    await play(client, f"{BOOT}; exec sleep 1000")
    assert client.succeeded
    assert client.was_stuck


async def test_a_cancelled_client_loses_its_power(client: Client, tmp_path: Path) -> None:
    """It is not told to end, as an operator's client would be: it could still write something down."""
    told = tmp_path / "told"
    script = f"trap 'touch {told}; exit' TERM; echo BOOT-FLUSHED md5={SUM}; while :; do sleep 0.1; done"
    flushed = asyncio.Event()
    command = ["sh", "-c", script]
    boot = asyncio.create_task(
        run_client(client, command, namespace=None, limit=30.0, on_change=lambda c: flushed.set() if c.seen else None)
    )
    await flushed.wait()
    boot.cancel()
    with pytest.raises(asyncio.CancelledError):
        await boot
    assert client.value(Mark.FLUSHED, "md5") == SUM
    assert client.ended is not None
    assert not told.exists()


@pytest.mark.parametrize(
    ("line", "failure"),
    [
        ("Kernel panic - not syncing: no init", "its kernel panicked: no init"),
        ("rootwire: FAILED: no boot server known", "its initramfs gave up: no boot server known"),
        ("error: bad shim signature.", "Secure Boot refused its kernel: bad shim signature"),
        ("No bootable device.", "its firmware found nothing to boot: No bootable device"),
        ('BdsDxe: starting Boot0005 "EFI Internal Shell"', "its firmware found nothing to boot: EFI Internal Shell"),
    ],
)
async def test_a_hopeless_client_ends_at_once(client: Client, line: str, failure: str) -> None:
    """Nobody waits for the limit when firmware, initramfs or kernel has given up."""
    await play(client, f"echo '{line}'; exec sleep 1000")
    assert client.failure == failure


async def test_the_appliances_stage_counts_until_userspace(client: Client) -> None:
    """What the appliance saw is finer than the console, until the client itself says it is up."""
    client.story = Story("kernel", (Step("kernel", 1.0, "boot/linux", 5, False),), 5)
    assert client.stage == "waiting for its turn"
    assert await play(client, "echo PXELINUX 6.04; " + BOOT) == ["kernel", "userspace", "done"]


def test_a_bios_client_boots_from_the_cards_rom(tmp_path: Path) -> None:
    """Its MAC and tap are its own, and it needs no flash."""
    words = " ".join(qemu_command(ClientPlan(2, "bios", "ram"), tmp_path))
    assert "mac=52:54:00:77:00:02,bootindex=1" in words
    assert "ifname=tap2," in words
    assert "pflash" not in words


def test_a_uefi_client_has_its_own_variables(tmp_path: Path) -> None:
    """OVMF writes its boot order there: a fresh copy each time, and no ROM in the card."""
    words = " ".join(qemu_command(ClientPlan(1, "uefi", "aoe"), tmp_path))
    assert f"file={tmp_path / 'client-01.vars'}" in words
    assert words.endswith("romfile=")
    assert (tmp_path / "client-01.vars").stat().st_size > 0


def test_disks_are_kept(tmp_path: Path) -> None:
    """Blank at the first boot, at the second what the first left; the client is given each."""
    plan = ClientPlan(3, "bios", "ram", disks=2)
    command = qemu_command(plan, tmp_path)
    paths = [tmp_path / f"client-03.disk{number}" for number in (0, 1)]
    assert [word for word in command if "if=ide" in word] == [f"file={path},format=raw,if=ide" for path in paths]
    assert {path.stat().st_size for path in paths} == {DISK_SIZE}
    with paths[0].open("r+b") as file:
        file.write(b"kept")
    qemu_command(plan, tmp_path)
    assert paths[0].stat().st_size == DISK_SIZE
    with paths[0].open("rb") as file:
        assert file.read(4) == b"kept"


@pytest.mark.parametrize("card", CARDS)
def test_cards(tmp_path: Path, card: Card) -> None:
    """Each is QEMU's device of that kind."""
    words = qemu_command(ClientPlan(1, "bios", "nbd", card=card), tmp_path)
    assert any(word.startswith(f"{CARDS[card]},netdev=n0") for word in words)


def test_a_secure_client_has_microsofts_keys(tmp_path: Path) -> None:
    """And its variables are out of reach of what runs later."""
    words = " ".join(qemu_command(ClientPlan(1, "secure", "nbd"), tmp_path))
    assert "OVMF_CODE_4M.secboot.fd" in words
    assert "smm=on" in words
    assert (tmp_path / "client-01.vars").read_bytes() == (OVMF / "OVMF_VARS_4M.ms.fd").read_bytes()


def test_an_http_client_has_no_pxe(tmp_path: Path) -> None:
    """Its firmware would try that first."""
    words = " ".join(qemu_command(ClientPlan(1, "uefi-http", "nbd"), tmp_path))
    assert "name=opt/org.tianocore/IPv4PXESupport,string=n" in words
