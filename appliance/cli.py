"""The `rootwire` command: serve, status, check, machines, enroll, heat, exports, initrd; ls, cat and show of an image.

Every mistake an operator can make is one line and exit 2.
"""

import asyncio
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from typer.exceptions import TyperException

from appliance import logs, status
from appliance.check import check as check_configs
from appliance.config import DEFAULT_SOCKET, MOST_PUMPS, load_config
from appliance.contents import copy_file, list_files
from appliance.enrolment import enroll as enroll_machine
from appliance.enrolment import show_registrations
from appliance.errors import OperatorError
from appliance.exports.command import change_exports, show_exports
from appliance.hotlist import show_heat
from appliance.initrd.builder import build_initrd
from appliance.initrd.errors import InitrdError
from appliance.portrait import show_image
from appliance.serve import serve as run_appliance

FOUND = 1  # exit status of a check that found errors
MISTAKE = 2  # exit status for what the operator can mend

app = typer.Typer(
    name="rootwire",
    help="A network boot appliance: machines without disks boot from this box.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SERVE_EXAMPLES = """
Serve the boot tree on one interface: ProxyDHCP, TFTP, HTTP, NBD and AoE, beside the DHCP server that the LAN has.

A squashfs in [bold]image/[/] that holds a kernel is enough; with [bold]boot/linux[/] machines boot that instead.

[bold]Examples[/]

  sudo rootwire serve --interface eth0 --root /srv/netboot

  sudo rootwire serve --config /etc/rootwire.toml
"""

STATUS_EXAMPLES = """
Show where each machine is in its boot; with a MAC address or an IPv4 address, every step of that machine's boot.

[bold]Examples[/]

  rootwire status --watch

  rootwire status 52:54:00:77:00:01

  rootwire status --json | jq '.machines[] | select(.overdue) | .mac'
"""

INITRD_EXAMPLES = """
Make the client initramfs for a kernel: busybox, network drivers, nbd-client and rootwire's own init.

[bold]Examples[/]

  rootwire initrd --kernel linux-image-amd64 --output /srv/netboot/boot/initrd

  rootwire initrd --kernel linux-image-amd64 -o /srv/netboot/boot/initrd --extra /srv/netboot/boot/initrd.extra

  rootwire initrd --kernel / --output initrd          (the newest kernel installed here)

  rootwire initrd --kernel ./linux-image-6.1.0-42-amd64_6.1.159-1_amd64.deb --output initrd
"""

LS_EXAMPLES = """
List the files inside a squashfs image, in the order of their names.

With [bold]-R[/] everything below the folder is listed, a path a line. Odd names are escaped on a terminal only.

[bold]Examples[/]

  rootwire ls /srv/netboot/image/debian.x86_64-12 /boot

  rootwire ls -lR debian.squashfs /usr/lib/modules

  rootwire ls -R --json debian.squashfs | jq -r '.[] | select(.size > 1e7) | .path'
"""

CAT_EXAMPLES = """
Write a file from inside a squashfs image to standard output.

Symbolic links are followed inside the image only.

[bold]Examples[/]

  rootwire cat debian.squashfs /etc/os-release

  rootwire cat /srv/netboot/image/debian.x86_64-12 /vmlinuz > /srv/netboot/boot/linux

  rootwire cat debian.squashfs /boot/initrd.img --length 6 | xxd          (what is it compressed with?)
"""

HEAT_EXAMPLES = """
Show what machines read of their root while they booted, file by file, in order; with --sort-file, write that order.

IMAGE is the name of a squashfs in image/; boots over NBD and AoE are recorded, for two minutes each.

[bold]Examples[/]

  rootwire heat debian.x86_64-12

  rootwire heat debian.x86_64-12 --client 52:54:00:77:00:01 --json | jq -r '.ranges[].names[]'

  rootwire heat debian.x86_64-12 --sort-file boot.sort && mksquashfs root debian.new -sort boot.sort
"""

MACHINES_EXAMPLES = """
List the machines whose KIWI client found no configuration and registered, and those that were enrolled.

One that waits asks again every minute: answer it with [bold]rootwire enroll[/].

[bold]Examples[/]

  rootwire machines

  rootwire machines --json | jq -r '.[] | select(.waiting) | .mac'
"""

ENROLL_EXAMPLES = """
Have a machine belong to a group: [bold]\\[kiwi.groups.NAME][/] in the configuration, or KIWI/config.NAME in the tree.

A client that waits is told when it asks next, within a minute. Without --group the machine belongs to none again.

[bold]Examples[/]

  rootwire enroll 52:54:00:A1:B2:C3 --group tills

  rootwire machines --json | jq -r '.[] | select(.waiting) | .mac' | xargs -n1 rootwire enroll --group tills
"""

CHECK_EXAMPLES = """
Look for the traps of KIWI's netboot in a boot tree, or in one configuration: what its client would do, and the mend.

Exits with 1 where an error was found: what has one is not served. Warnings are served, mended where it says so.

[bold]Examples[/]

  rootwire check /srv/netboot

  rootwire check /srv/netboot/KIWI/config.52:54:00:A1:B2:C3

  rootwire check --json /srv/netboot | jq -r '.[] | select(.level == "error") | .path'
"""

EXPORTS_EXAMPLES = """
List what machines write to: each one's disks, how full they are, and who has them open.

What they get is said in the configuration: write, write_size, write_quota, write_base and swap_size.

[bold]Examples[/]

  rootwire exports

  rootwire exports --json | jq -r '.[] | select(.used > 1e9) | .machine'

  rootwire exports reset 52:54:00:a1:b2:c3

  rootwire exports delete rw-525400A1B2C3 --force
"""

SHOW_EXAMPLES = """
Show a squashfs image on one page: how it is packed, what it holds, and how it boots when it is dropped into image/.

A rule file beside it, IMAGE.toml, is heeded.

[bold]Examples[/]

  rootwire show /srv/netboot/image/debian.x86_64-12

  rootwire show --json debian.squashfs | jq .boots
"""

ImageArgument = Annotated[Path, typer.Argument(metavar="IMAGE", help="A squashfs file.", show_default=False)]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rootwire {version('rootwire')}")
        raise typer.Exit


@app.callback()
def root_options(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options of the command itself."""


@app.command(help=SERVE_EXAMPLES)
def serve(
    interface: Annotated[
        str | None, typer.Option("--interface", "-i", metavar="NAME", help="The interface that faces the clients.")
    ] = None,
    root: Annotated[Path | None, typer.Option("--root", "-r", metavar="DIR", help="The boot tree.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="A TOML file for everything else.")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="IPV4", help="Which of the interface's addresses to serve from. Default: the first."),
    ] = None,
    socket: Annotated[
        Path | None, typer.Option(metavar="PATH", help=f"Where rootwire status asks. Default: {DEFAULT_SOCKET}")
    ] = None,
    pumps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=MOST_PUMPS,
            help="Threads for each of NBD, AoE, TFTP and HTTP; more than one where one core is too little. Default: 1.",
        ),
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Log every malformed packet and every small request.")] = False,
) -> None:
    """Serve a boot tree until interrupted."""
    logs.configure(debug=debug)
    settings = load_config(config)
    given = {"interface": interface, "root": root, "address": address, "socket": socket, "pumps": pumps}
    asyncio.run(run_appliance(settings.model_copy(update={k: v for k, v in given.items() if v is not None})))


@app.command(name="status", help=STATUS_EXAMPLES)
def show_status(
    machine: Annotated[str | None, typer.Argument(metavar="[MAC]", help="One machine, step by step.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh every second until interrupted.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the API's JSON.")] = False,
    socket: Annotated[Path, typer.Option(metavar="PATH", help="The appliance's API socket.")] = DEFAULT_SOCKET,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Ask over the network instead, as http://192.168.0.2")
    ] = None,
) -> None:
    """Print the boot timeline."""
    asyncio.run(status.show(machine, watch=watch, as_json=json, socket=socket, url=url))


@app.command(help=INITRD_EXAMPLES)
def initrd(
    kernel: Annotated[
        str,
        typer.Option(metavar="PACKAGE-OR-DIR", help="A Debian package, a .deb, or a folder with lib/modules/VERSION."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.")],
    extra: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write what machines with disks, or a root on NFS, load as well."),
    ] = None,
) -> None:
    """Make the client initramfs."""
    console = Console(stderr=True)
    with console.status("making the client initramfs") as line:
        report = build_initrd(kernel, output, extra=extra, progress=line.update)
    typer.echo(str(report))


@app.command(name="ls", help=LS_EXAMPLES)
def list_inside(
    image: ImageArgument,
    path: Annotated[str, typer.Argument(metavar="[PATH]", help="A folder or file in it.")] = "/",
    is_long: Annotated[
        bool, typer.Option("--long", "-l", help="With mode, links, owners, size, time (UTC), target.")
    ] = False,
    is_deep: Annotated[bool, typer.Option("--recursive", "-R", help="Everything below the folder.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON array, with all that is known of each.")] = False,
) -> None:
    """List files inside an image."""
    list_files(image, path, sys.stdout.buffer, is_long=is_long, is_deep=is_deep, as_json=json)
    sys.stdout.buffer.flush()


@app.command(name="cat", help=CAT_EXAMPLES)
def copy_inside(
    image: ImageArgument,
    path: Annotated[str, typer.Argument(metavar="PATH", help="A file in it.", show_default=False)],
    offset: Annotated[int, typer.Option(metavar="N", min=0, help="Leave out the first N bytes.")] = 0,
    length: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="Stop after N bytes. Default: at the end.")
    ] = None,
) -> None:
    """Write out a file inside an image."""
    copy_file(image, path, sys.stdout.buffer, offset=offset, length=length)
    sys.stdout.buffer.flush()


@app.command(name="show", help=SHOW_EXAMPLES)
def show_inside(
    image: ImageArgument,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show an image on one page."""
    show_image(image, sys.stdout.buffer, as_json=json)
    sys.stdout.buffer.flush()


@app.command(help=MACHINES_EXAMPLES)
def machines(
    json: Annotated[bool, typer.Option("--json", help="Print the API's JSON.")] = False,
    socket: Annotated[Path, typer.Option(metavar="PATH", help="The appliance's API socket.")] = DEFAULT_SOCKET,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Ask over the network instead, as http://192.168.0.2")
    ] = None,
) -> None:
    """List machines that registered."""
    asyncio.run(show_registrations(as_json=json, socket=socket, url=url))


@app.command(help=ENROLL_EXAMPLES)
def enroll(
    mac: Annotated[str, typer.Argument(metavar="MAC", help="The machine.", show_default=False)],
    group: Annotated[str | None, typer.Option("--group", "-g", metavar="NAME", help="Its group from now on.")] = None,
    socket: Annotated[Path, typer.Option(metavar="PATH", help="The appliance's API socket.")] = DEFAULT_SOCKET,
) -> None:
    """Answer a machine that registered."""
    name = asyncio.run(enroll_machine(mac, group, socket))
    typer.echo(f"{name} belongs to {group}" if group else f"{name} belongs to no group")


@app.command(help=CHECK_EXAMPLES)
def check(
    path: Annotated[Path, typer.Argument(metavar="TREE|CONFIG", help="A boot tree, or a file in its KIWI/.")],
    root: Annotated[
        Path | None,
        typer.Option("--root", "-r", metavar="DIR", help="The tree that a configuration elsewhere is meant for."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON array of findings.")] = False,
) -> None:
    """Look for traps in KIWI's configurations."""
    if not check_configs(path, root, Console(), as_json=json):
        raise typer.Exit(FOUND)


@app.command(help=HEAT_EXAMPLES)
def heat(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The name of an image that is served.")],
    client: Annotated[
        str | None, typer.Option(metavar="MAC", help="Boots of this machine only. Default: of all, together.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the API's JSON.")] = False,
    sort_file: Annotated[
        Path | None, typer.Option("--sort-file", metavar="FILE", help="Write the order for mksquashfs -sort.")
    ] = None,
    socket: Annotated[Path, typer.Option(metavar="PATH", help="The appliance's API socket.")] = DEFAULT_SOCKET,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Ask over the network instead, as http://192.168.0.2")
    ] = None,
) -> None:
    """Print what boots read of an image."""
    asyncio.run(show_heat(image, client=client, as_json=json, sort_file=sort_file, socket=socket, url=url))


exports_app = typer.Typer(help=EXPORTS_EXAMPLES, invoke_without_command=True, rich_markup_mode="rich")
app.add_typer(exports_app, name="exports")

WhoArgument = Annotated[str, typer.Argument(metavar="MAC|NAME", help="A machine, or one export.", show_default=False)]
ForceOption = Annotated[bool, typer.Option("--force", help="Even while it is open: its machine gets errors.")]
SocketOption = Annotated[Path, typer.Option(metavar="PATH", help="The appliance's API socket.")]


@exports_app.callback()
def exports(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print the API's JSON.")] = False,
    socket: SocketOption = DEFAULT_SOCKET,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help="Ask over the network instead, as http://192.168.0.2")
    ] = None,
) -> None:
    """List machines' disks."""
    if context.invoked_subcommand is None:
        asyncio.run(show_exports(as_json=json, socket=socket, url=url))


@exports_app.command(name="reset")
def reset_exports(who: WhoArgument, force: ForceOption = False, socket: SocketOption = DEFAULT_SOCKET) -> None:
    """Throw a disk's content away; its machine gets a new one when it asks next."""
    typer.echo("\n".join(asyncio.run(change_exports(who, reset=True, force=force, socket=socket))))


@exports_app.command(name="delete")
def delete_exports(who: WhoArgument, force: ForceOption = False, socket: SocketOption = DEFAULT_SOCKET) -> None:
    """Throw a disk away, and let its AoE address be another machine's."""
    typer.echo("\n".join(asyncio.run(change_exports(who, reset=False, force=force, socket=socket))))


def main() -> None:
    """The `rootwire` command; exits 2 with one line for what the operator can mend, 130 when interrupted."""
    try:
        code = app(standalone_mode=False)
    except (OperatorError, InitrdError, TyperException) as mistake:
        message = mistake.format_message() if isinstance(mistake, TyperException) else str(mistake)
        print(f"rootwire: {' '.join(message.split())}", file=sys.stderr)
        sys.exit(MISTAKE)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
