"""Menus written as iPXE scripts."""

from appliance.menus.model import ASK_AGAIN_SECONDS, RETRY_SECONDS, Choice, Menu, plain

# What IPAPPEND 1 and 2 stand for, in iPXE's variables; netX is the interface the script was loaded through.
IPXE_IP = "ip=${netX/ip}:%s:${netX/gateway}:${netX/netmask}"
IPXE_BOOTIF = "BOOTIF=01-${netX/mac:hexhyp}"


def render_ipxe(menu: Menu, *, server: str, name: str = "boot.ipxe") -> bytes:
    """The menu as an iPXE script; `server` is our IPv4 address, `name` the path under which the script is served.

    Paths stay relative, so that iPXE fetches everything by the protocol it fetched the script with, HTTP where it
    has it. A failure is shown, then the boot starts over: a lab must come up by itself after the box did.
    """
    lines = ["#!ipxe"]
    if menu.notice:
        lines += [
            f"echo rootwire: {plain(menu.notice)}, asking again in {ASK_AGAIN_SECONDS} s",
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
