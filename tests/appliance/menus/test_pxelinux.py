"""Menus: read as PXELINUX reads them, written so that both loaders do the same."""

import pytest

from appliance.menus.ipxe import render_ipxe
from appliance.menus.model import Choice, Menu
from appliance.menus.pxelinux import parse_pxelinux, render_pxelinux

KIWI_TEMPLATE = """\
# KIWI's own template
DEFAULT KIWI-Boot
PROMPT 1
TIMEOUT 300
LABEL KIWI-Boot
    kernel boot/linux
    append initrd=boot/initrd vga=normal ramdisk_size=512000 kiwiserver=192.168.0.254
    IPAPPEND 2
LABEL Local-Boot
    MENU LABEL ^Local disk
    localboot 0
"""


def test_kiwis_template_is_understood() -> None:
    """Label, kernel, initrd out of the append line, timeout in tenths, local boot."""
    menu = parse_pxelinux(KIWI_TEMPLATE)
    boot, local = menu.choices
    assert (menu.default, menu.timeout) == ("KIWI-Boot", 30.0)
    assert (boot.kernel, boot.initrds, boot.ipappend) == ("boot/linux", ("boot/initrd",), 2)
    assert boot.append == "vga=normal ramdisk_size=512000 kiwiserver=192.168.0.254"
    assert (local.is_local, local.title) == (True, "Local disk")


def test_initrd_lines_and_several_initrds() -> None:
    """INITRD wins over initrd= in APPEND; commas separate."""
    menu = parse_pxelinux("LABEL a\nLINUX k\nINITRD one,two\nAPPEND initrd=three x\n")
    assert menu.choices[0].initrds == ("one", "two")
    assert menu.choices[0].append == "x"


def test_ipappend_before_labels_is_for_all() -> None:
    """A global IPAPPEND holds until a label says otherwise."""
    menu = parse_pxelinux("IPAPPEND 3\nLABEL a\nKERNEL k\nLABEL b\nKERNEL k\nIPAPPEND 0\n")
    assert [choice.ipappend for choice in menu.choices] == [3, 0]


@pytest.mark.parametrize("text", ["", "\x00\xff", "LABEL", "TIMEOUT x", "kernel k", "APPEND -"])
def test_odd_text_is_passed_over(text: str) -> None:
    """PXELINUX ignores what it does not know, and so do we."""
    assert len(parse_pxelinux(text).choices) <= 1


def test_what_is_rendered_reads_back() -> None:
    """The PXELINUX text of a menu is that menu."""
    menu = parse_pxelinux(KIWI_TEMPLATE)
    assert parse_pxelinux(render_pxelinux(menu).decode()) == menu


def test_ipxe_takes_the_default_at_once() -> None:
    """Without a timeout the script loads the default choice, with both IPAPPEND words, by relative paths."""
    menu = Menu((Choice("a", kernel="/boot/linux", initrds=("boot/initrd",), append="quiet", ipappend=3),))
    script = render_ipxe(menu, server="10.77.0.2").decode()
    kernel = next(line for line in script.splitlines() if line.startswith("kernel "))
    assert kernel == (
        "kernel boot/linux initrd=initrd quiet ip=${netX/ip}:10.77.0.2:${netX/gateway}:${netX/netmask}"
        " BOOTIF=01-${netX/mac:hexhyp} || goto failed"
    )
    assert "initrd --name initrd boot/initrd || goto failed" in script
    assert script.startswith("#!ipxe\n")


def test_ipxe_offers_a_menu_when_there_is_time() -> None:
    """With a timeout every choice can be taken, and local boot leaves the network."""
    script = render_ipxe(parse_pxelinux(KIWI_TEMPLATE), server="10.0.0.1").decode()
    assert "item choice1 Local disk" in script
    assert "choose --timeout 30000 --default choice0 chosen || goto choice0" in script
    assert script.split(":choice1\n")[1].startswith("exit\n")


def test_ipxe_says_so_when_there_is_nothing() -> None:
    """An empty menu is shown on the client's screen, not a hang."""
    assert "there is no kernel" in render_ipxe(Menu(()), server="10.0.0.1").decode()


WAITING = Menu((), notice="making it; goto ${evil} || shell\n:x")


def test_a_machine_with_nothing_to_boot_is_told_and_asks_again() -> None:
    """The same script once more, and nothing of the notice is acted on."""
    lines = render_ipxe(WAITING, server="10.0.0.1", name="boot-52.ipxe").decode().splitlines()
    assert lines[1] == "echo rootwire: making it? goto ??evil? ?? shell?:x, asking again in 5 s"
    assert lines[2:4] == ["sleep 5", "chain --replace --autofree boot-52.ipxe || goto failed"]


def test_pxelinux_waits_and_reads_its_menu_again() -> None:
    """CONFIG starts over with the same file, after the prompt's timeout."""
    assert render_pxelinux(WAITING, name="pxelinux.cfg/01-52").decode().splitlines() == [
        "DEFAULT again",
        "SAY rootwire: making it? goto ??evil? ?? shell?:x",
        "PROMPT 1",
        "TIMEOUT 50",
        "LABEL again",
        "  CONFIG pxelinux.cfg/01-52",
    ]


def test_pxelinux_says_what_can_be_typed() -> None:
    """Where it waits for a person; at a prompt that nobody sees it would be noise."""
    choices = (Choice("edge-1", "edge-1, Linux 6.1", "k"), Choice("local", "This machine's disk ${x}"))
    shown = render_pxelinux(Menu(choices, timeout=5.0)).decode()
    assert "SAY edge-1: edge-1, Linux 6.1\nSAY local: This machine's disk ??x?\nLABEL edge-1\n" in shown
    assert "SAY" not in render_pxelinux(Menu(choices)).decode()


def test_a_kernel_that_ends_like_a_boot_loader_is_still_a_kernel() -> None:
    """PXELINUX tells types by the ending after KERNEL: vmlinuz-6.1.0 would be taken for pxelinux.0's like."""
    assert b"  LINUX boot/vmlinuz-6.1.0\n" in render_pxelinux(Menu((Choice("a", kernel="boot/vmlinuz-6.1.0"),)))
