"""Boot menus: one model, read from and written as PXELINUX configuration, and written as an iPXE script.

An operator's own pxelinux.cfg/default is what every machine gets, whatever loader it runs. Read of PXELINUX's
language: DEFAULT, TIMEOUT, LABEL, MENU LABEL, KERNEL/LINUX, INITRD, APPEND, IPAPPEND/SYSAPPEND, LOCALBOOT; the rest
(colours, submenus, COM32 modules) is left to PXELINUX itself.
"""

import re
from dataclasses import dataclass, field

IPAPPEND_BOTH = 3  # ip=... and BOOTIF=...: without the first the client has to guess its server
TENTHS = 10  # PXELINUX counts TIMEOUT in tenths of a second
RETRY_SECONDS = 10  # before an iPXE client whose boot failed starts over: long enough to read the message
ASK_AGAIN_SECONDS = 5  # before a machine that has nothing to boot asks for its menu again

# What IPAPPEND 1 and 2 stand for, in iPXE's variables; netX is the interface the script was loaded through.
IPXE_IP = "ip=${netX/ip}:%s:${netX/gateway}:${netX/netmask}"
IPXE_BOOTIF = "BOOTIF=01-${netX/mac:hexhyp}"

_UNFIT = re.compile(r"[^A-Za-z0-9 .,:()/_+@=~'-]")


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of a menu: what to load and what to tell it. A choice without a kernel boots the local disk."""

    label: str
    title: str = ""
    kernel: str = ""
    initrds: tuple[str, ...] = ()
    append: str = ""
    ipappend: int = 0

    @property
    def is_local(self) -> bool:
        """Whether this choice leaves the network and boots the machine's own disk."""
        return not self.kernel


@dataclass(frozen=True, slots=True)
class Menu:
    """Choices, which of them is taken by itself, and after how many seconds (0: at once).

    Without choices, `notice` says why; a machine is shown it, and asks again.
    """

    choices: tuple[Choice, ...]
    default: str = ""
    timeout: float = 0.0
    notice: str = ""

    def default_choice(self) -> Choice | None:
        """The choice that is taken by itself: the named one, else the first; None for an empty menu."""
        for choice in self.choices:
            if choice.label == self.default:
                return choice
        return self.choices[0] if self.choices else None


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
        wait = [f"SAY rootwire: {_plain(menu.notice)}", "PROMPT 1", f"TIMEOUT {ASK_AGAIN_SECONDS * TENTHS}"]
        return ("\n".join(["DEFAULT again", *wait, "LABEL again", f"  CONFIG {name}"]) + "\n").encode()
    lines = [f"DEFAULT {menu.default}"] if menu.default else []
    lines.append(f"PROMPT {int(menu.timeout > 0)}")
    if menu.timeout > 0:
        lines.append(f"TIMEOUT {round(menu.timeout * TENTHS)}")
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


def render_ipxe(menu: Menu, *, server: str, name: str = "boot.ipxe") -> bytes:
    """The menu as an iPXE script; `server` is our IPv4 address, `name` the path under which the script is served.

    Paths stay relative, so that iPXE fetches everything by the protocol it fetched the script with, HTTP where it
    has it. A failure is shown, then the boot starts over: a lab must come up by itself after the box did.
    """
    lines = ["#!ipxe"]
    if menu.notice:
        lines += [
            f"echo rootwire: {_plain(menu.notice)}, asking again in {ASK_AGAIN_SECONDS} s",
            f"sleep {ASK_AGAIN_SECONDS}",
        ]
        return "\n".join([*lines, f"chain --replace --autofree {name} || goto failed", *_failed()]).encode()
    default = menu.default_choice()
    if default is None:
        return "\n".join(
            [*lines, "echo rootwire: there is no kernel in the boot tree", "goto failed", *_failed()]
        ).encode()
    if menu.timeout > 0 and len(menu.choices) > 1:
        lines += ["menu Network boot", *(f"item {_tag(n)} {c.title or c.label}" for n, c in enumerate(menu.choices))]
        at = menu.choices.index(default)
        lines.append(f"choose --timeout {round(menu.timeout * 1000)} --default {_tag(at)} chosen || goto {_tag(at)}")
        lines.append("goto ${chosen}")
        choices = list(enumerate(menu.choices))
    else:
        choices = [(menu.choices.index(default), default)]
    for number, choice in choices:
        lines += [f":{_tag(number)}", *_ipxe_load(choice, server)]
    return "\n".join([*lines, *_failed()]).encode()


def _plain(notice: str) -> str:
    """Without what a script would act on: part of it may be a name out of somebody's image."""
    return _UNFIT.sub("?", notice)


def _failed() -> list[str]:
    return [
        ":failed",
        f"echo rootwire: boot failed, starting over in {RETRY_SECONDS} s",
        f"sleep {RETRY_SECONDS}",
        "reboot",
        "",
    ]


def _tag(number: int) -> str:
    return f"choice{number}"


def _ipxe_load(choice: Choice, server: str) -> list[str]:
    if choice.is_local:
        return ["exit"]
    names = [path.rsplit("/", 1)[-1] for path in choice.initrds]
    words = [f"initrd={name}" for name in names]  # an EFI kernel finds its initrds by these names only
    words += [choice.append] if choice.append else []
    words += [IPXE_IP % server] if choice.ipappend & 1 else []
    words += [IPXE_BOOTIF] if choice.ipappend & 2 else []
    lines = [f"kernel {_relative(choice.kernel)} {' '.join(words)} || goto failed"]
    lines += [
        f"initrd --name {name} {_relative(path)} || goto failed"
        for name, path in zip(names, choice.initrds, strict=True)
    ]
    return [*lines, "boot || goto failed"]


def _relative(path: str) -> str:
    return path if "://" in path else path.lstrip("/")
