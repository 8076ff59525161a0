"""GRUB's configuration: what is quoted, what is tried, and where a failure leads. GRUB itself checks the syntax."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.menus.grub import render_grub, render_start
from appliance.menus.model import Choice, Menu

BOX = "10.77.0.2"
MAC = "52:54:00:77:00:01"
LINUX = Choice("linux", "Debian 12", "boot/linux", ("boot/initrd",), "quiet root=x", 3)
DISK = Choice("disk", "Local disk")
HOSTILE = "a='b' ${x} $(y) `z` \\ ; | & < > { }"
MENUS = {
    "one": Menu((LINUX,)),
    "several": Menu((LINUX, DISK), "disk", 5.0),
    "notice": Menu((), notice="it's being made"),
    "empty": Menu(()),
    "hostile": Menu(
        (Choice("a", "it's }; reboot #", "k'; halt", ("i d",), "a='b' ${x} $(y) `z` \\ ; | & < > { }"), DISK), timeout=1
    ),
}


def text(menu: Menu, mac: str | None = MAC) -> str:
    """The menu as GRUB reads it."""
    return render_grub(menu, mac=mac).decode()


def test_one_choice_is_booted_at_once() -> None:
    """Kernel and initrd from where the menu came from; the rest of the script is for when that failed."""
    assert text(MENUS["one"]).splitlines() == [
        """if linux "$from"'/boot/linux' 'quiet' 'root=x' 'ip=dhcp' 'BOOTIF=01-52-54-00-77-00-01'; then""",
        """  if initrd "$from"'/boot/initrd'; then""",
        "    boot",
        "  fi",
        "fi",
    ]


def test_without_a_mac_there_is_no_bootif() -> None:
    """It would name no card."""
    assert "BOOTIF" not in text(MENUS["one"], None)


def test_ip_of_the_operators_own_stands() -> None:
    """The loader's word is added only where there is none."""
    assert "ip=dhcp" not in text(Menu((Choice("a", "", "k", append="ip=10.0.0.1", ipappend=1),)))


def test_several_choices_wait_for_the_operator() -> None:
    """With the default and the seconds, and a local disk that GRUB leaves for."""
    lines = text(MENUS["several"]).splitlines()
    assert lines[:3] == ["set choose=yes", "set timeout=5", "set default=1"]
    assert "menuentry 'Debian 12' {" in lines
    assert lines[-6:-4] == ["menuentry 'Local disk' {", "  exit"]


def test_an_entry_that_fails_starts_over() -> None:
    """A lab must come up by itself after the box did."""
    lines = text(MENUS["several"]).splitlines()
    at = lines.index("}")
    assert lines[at - 3 : at] == ["  echo 'rootwire: boot failed, starting over in 10 s'", "  sleep 10", "  reboot"]


def test_a_notice_is_shown_and_asked_again() -> None:
    """The loop is in the file that sources this one."""
    assert text(MENUS["notice"]).splitlines() == [
        "echo 'rootwire: it'\\''s being made, asking again in 5 s'",
        "sleep 5",
        "set again=yes",
    ]


def test_words_in_quotes_stay_together() -> None:
    """As the kernel reads them; GRUB puts quotes of its own around such a word."""
    assert """ 'a=b c' 'd'; then""" in text(Menu((Choice("x", "", "k", append='a="b c" d'),)))


def test_a_url_names_its_own_server() -> None:
    """An operator's menu may load from elsewhere."""
    assert "linux '(http,10.0.0.9)/k'" in text(Menu((Choice("x", "", "http://10.0.0.9/k"),)))


def test_the_start_names_server_and_protocol() -> None:
    """Whatever the firmware kept of the answers that it got."""
    start = render_start(BOX).decode()
    assert start.startswith("set from='(tftp,10.77.0.2)'\n")
    assert 'source "$from/grub/menu-$net_default_mac.cfg"' in start


@pytest.mark.parametrize("name", [*MENUS, "start"])
def test_grub_takes_the_syntax(tool: Callable[[str], str], tmp_path: Path, name: str) -> None:
    """Checked by the parser of GRUB's own package, however hostile a title or a command line is."""
    script = tmp_path / "grub.cfg"
    script.write_bytes(render_start(BOX) if name == "start" else render_grub(MENUS[name], mac=MAC))
    done = subprocess.run([tool("grub-script-check"), script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
