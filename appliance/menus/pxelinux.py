"""Menus read from and written as PXELINUX configuration, which U-Boot's pxe command reads as well.

An operator's own pxelinux.cfg/default is what every machine gets, whatever loader it runs. Read of PXELINUX's
language: DEFAULT, TIMEOUT, LABEL, MENU LABEL, KERNEL/LINUX, INITRD, APPEND, IPAPPEND/SYSAPPEND, LOCALBOOT; the rest
(colours, submenus, COM32 modules) is left to PXELINUX itself.
"""

import re
from dataclasses import dataclass, field

from appliance.menus.model import ASK_AGAIN_SECONDS, Choice, Menu, plain

TENTHS = 10  # PXELINUX counts TIMEOUT in tenths of a second


@dataclass(slots=True)
class _Draft:
    """A LABEL's lines while they are being read."""

    label: str
    title: str = ""
    kernel: str = ""
    initrds: list[str] = field(default_factory=list)
    append: str = ""
    ipappend: int = 0

    def finished(self) -> Choice:
        words = self.append.split()
        named = [word.removeprefix("initrd=") for word in words if word.startswith("initrd=")]
        initrds = self.initrds or [path for names in named for path in names.split(",") if path]
        rest = " ".join(word for word in words if not word.startswith("initrd="))
        return Choice(self.label, self.title, self.kernel, tuple(initrds), rest, self.ipappend)


def parse_pxelinux(text: str) -> Menu:
    """The menu that a PXELINUX configuration describes; lines it does not know are passed over, as PXELINUX does."""
    drafts: list[_Draft] = []
    default, timeout, ipappend = "", 0.0, 0
    for line in text.splitlines():
        keyword, _, rest = line.strip().partition(" ")
        rest = rest.strip()
        match keyword.lower():
            case "default" if not drafts:
                default = rest
            case "timeout":
                timeout = _number(rest) / TENTHS
            case "label":
                drafts.append(_Draft(rest, ipappend=ipappend))
            case "ipappend" | "sysappend":
                ipappend = _number(rest) if not drafts else ipappend
                if drafts:
                    drafts[-1].ipappend = _number(rest)
            case word if drafts:
                _read_label_line(drafts[-1], word, rest)
    return Menu(tuple(draft.finished() for draft in drafts), default, timeout)


def _read_label_line(draft: _Draft, word: str, rest: str) -> None:
    match word:
        case "kernel" | "linux":
            draft.kernel = rest
        case "initrd":
            draft.initrds = [path for path in rest.split(",") if path]
        case "append":
            draft.append = "" if rest == "-" else rest
        case "localboot":
            draft.kernel = ""
        case "menu":
            what, _, title = rest.partition(" ")
            if what.lower() == "label":
                draft.title = title.replace("^", "").strip()


def _number(text: str) -> int:
    found = re.match(r"(0x[0-9a-fA-F]+|\d+)", text)
    return int(found[0], 0) if found and not re.fullmatch(r"0\d+", found[0]) else 0


def render_pxelinux(menu: Menu, *, name: str = "pxelinux.cfg/default") -> bytes:
    """The menu as PXELINUX (and U-Boot's pxe command) reads it; `name` is the path under which it is served.

    LINUX, not KERNEL: by the latter PXELINUX takes a file whose name ends like .0 for a boot loader.
    """
    if menu.notice:
        wait = [f"SAY rootwire: {plain(menu.notice)}", "PROMPT 1", f"TIMEOUT {ASK_AGAIN_SECONDS * TENTHS}"]
        return ("\n".join(["DEFAULT again", *wait, "LABEL again", f"  CONFIG {name}"]) + "\n").encode()
    lines = [f"DEFAULT {menu.default}"] if menu.default else []
    lines.append(f"PROMPT {int(menu.timeout > 0)}")
    if menu.timeout > 0:
        lines.append(f"TIMEOUT {round(menu.timeout * TENTHS)}")
        # At its prompt PXELINUX shows nothing of what there is to be typed.
        lines += [f"SAY {choice.label}: {plain(choice.title)}" for choice in menu.choices]
    for choice in menu.choices:
        lines.append(f"LABEL {choice.label}")
        if choice.title:
            lines.append(f"  MENU LABEL {choice.title}")
        lines.extend(["  LOCALBOOT 0"] if choice.is_local else _pxelinux_load(choice))
    return ("\n".join(lines) + "\n").encode()


def _pxelinux_load(choice: Choice) -> list[str]:
    initrd = f"initrd={','.join(choice.initrds)} " if choice.initrds else ""
    lines = [f"  LINUX {choice.kernel}", f"  APPEND {initrd}{choice.append}".rstrip()]
    return [*lines, f"  IPAPPEND {choice.ipappend}"] if choice.ipappend else lines
