"""Menus written as GRUB configuration, in two files: how to get at the menu, and the menu itself.

The first is the same for all machines: GRUB knows its own MAC, and asks for its own menu by it. The second is read in
a loop, so that a machine which has nothing to boot yet asks again. Both are sourced, never nested: GRUB's stack is as
small as its firmware's.
"""

import re
from urllib.parse import urlsplit

from appliance.menus.model import ASK_AGAIN_SECONDS, RETRY_SECONDS, Choice, Menu, plain

# What IPAPPEND 1 stands for. GRUB can't say the netmask and the router that it was given, so the kernel asks for them.
GRUB_IP = "ip=dhcp"

# A word of a kernel's command line, with what is quoted inside it (Linux: Documentation/admin-guide).
_WORD = re.compile(r'(?:[^\s"]|"[^"]*"?)+')


def render_start(server: str) -> bytes:
    """The file that GRUB asks for by itself; `server` is our IPv4 address.

    It names server and protocol in full: what the firmware kept of the answers may be another server's (quirks G-1).
    The protocol is TFTP, the only one that Debian's signed GRUB has; under Secure Boot it takes no module for another.
    """
    failed = f"rootwire: boot failed, starting over in {RETRY_SECONDS} s"
    lines = [
        f"set from='(tftp,{server})'",
        "set again=yes",
        'while [ "$again" = yes ]; do',
        "  set again=no",
        '  if [ -n "$net_default_mac" ]; then',
        '    source "$from/grub/menu-$net_default_mac.cfg"',
        "  else",
        '    source "$from/grub/menu.cfg"',
        "  fi",
        "done",
        'if [ "$choose" != yes ]; then',
        *(f"  {line}" for line in (f"echo {_quoted(failed)}", f"sleep {RETRY_SECONDS}", "reboot")),
        "fi",
        "",
    ]
    return "\n".join(lines).encode()


def render_grub(menu: Menu, *, mac: str | None = None) -> bytes:
    """The menu as the file of render_start sources it, for the machine `mac` (lower case, with colons) or for any."""
    lines: list[str] = []
    default = menu.default_choice()
    if menu.notice:
        notice = f"rootwire: {plain(menu.notice)}, asking again in {ASK_AGAIN_SECONDS} s"
        lines = [f"echo {_quoted(notice)}", f"sleep {ASK_AGAIN_SECONDS}", "set again=yes"]
    elif default is None:
        lines = [f"echo {_quoted('rootwire: there is no kernel in the boot tree')}"]
    elif menu.timeout > 0 and len(menu.choices) > 1:
        lines = ["set choose=yes", f"set timeout={max(1, round(menu.timeout))}"]
        lines.append(f"set default={menu.choices.index(default)}")
        for choice in menu.choices:
            lines.append(f"menuentry {_quoted(choice.title or choice.label)} {{")
            lines += [f"  {line}" for line in (*_load(choice, mac), *_failed())] + ["}"]
    else:
        lines = _load(default, mac)
    return ("\n".join(lines) + "\n").encode()


def _failed() -> list[str]:
    told = f"rootwire: boot failed, starting over in {RETRY_SECONDS} s"
    return [f"echo {_quoted(told)}", f"sleep {RETRY_SECONDS}", "reboot"]


def _load(choice: Choice, mac: str | None) -> list[str]:
    """The commands for one choice; what comes behind them is run only when it could not be booted."""
    if choice.is_local:
        return ["exit"]
    words = _WORD.findall(choice.append)
    if choice.ipappend & 1 and not any(word.startswith("ip=") for word in words):
        words.append(GRUB_IP)
    if choice.ipappend & 2 and mac:
        words.append(f"BOOTIF=01-{mac.replace(':', '-')}")
    arguments = "".join(f" {_quoted(word.replace(chr(34), ''))}" for word in words)
    lines = [f"if linux {_place(choice.kernel)}{arguments}; then"]
    initrds = "".join(f" {_place(path)}" for path in choice.initrds)
    return [*lines, f"  if initrd{initrds}; then", "    boot", "  fi", "fi"] if initrds else [*lines, "  boot", "fi"]


def _place(path: str) -> str:
    """Where GRUB finds a file: a URL's own server, else the one that the menu came from."""
    if "://" not in path:
        return f'"$from"{_quoted("/" + path.lstrip("/"))}'
    url = urlsplit(path)
    return _quoted(f"({url.scheme},{url.hostname or ''}){url.path}")


def _quoted(text: str) -> str:
    """As one word that GRUB's shell takes nothing out of; between single quotes only they mean anything."""
    return "'" + text.replace("'", "'\\''") + "'"
