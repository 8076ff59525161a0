"""The `rootwire` command: every command an operator can type, one function each, none with logic of its own.

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

from appliance import logs
from appliance.client import Place
from appliance.config import DEFAULT_SOCKET, MOST_PUMPS, Root, load_config
from appliance.doctor.doctor import doctor as examine_box
from appliance.enrolment.command import REGISTRATIONS
from appliance.enrolment.command import enroll as enroll_machine
from appliance.errors import OperatorError
from appliance.examples import (
    CAT_EXAMPLES,
    CHECK_EXAMPLES,
    CONVERT_EXAMPLES,
    DOCTOR_EXAMPLES,
    ENROLL_EXAMPLES,
    EXPLAIN_EXAMPLES,
    EXPORTS_EXAMPLES,
    HEAT_EXAMPLES,
    IMPORT_EXAMPLES,
    INITRD_EXAMPLES,
    LEASES_EXAMPLES,
    LS_EXAMPLES,
    MACHINES_EXAMPLES,
    SERVE_EXAMPLES,
    SHOW_EXAMPLES,
    STATUS_EXAMPLES,
)
from appliance.exports.command import EXPORTS, change_exports
from appliance.heat.command import show_heat
from appliance.images.contents import copy_file, list_files
from appliance.images.portrait import show_image
from appliance.importing.command import import_files
from appliance.initrd.builder import build_initrd
from appliance.initrd.errors import InitrdError
from appliance.kiwi.command import check as check_configs
from appliance.kiwi.command import convert as convert_tree
from appliance.leases.command import LEASES
from appliance.offers.command import show_explanation
from appliance.reports.command import show_status
from appliance.reports.listing import show_list
from appliance.serve import serve as run_appliance

FOUND = 1  # exit status of a check that found errors
DEFAULT_ROOT = Path("/srv/netboot")  # of the boot tree, as the README has it
MISTAKE = 2  # exit status for what the operator can mend

SocketOption = Annotated[Path, typer.Option(metavar="PATH", help="The appliance's API socket.")]
UrlOption = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="Ask over the network instead, as http://192.168.0.2")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the API's JSON.")]

app = typer.Typer(
    name="rootwire",
    help="A network boot appliance: machines without disks boot from this box.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

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
def status(
    machine: Annotated[str | None, typer.Argument(metavar="[MAC]", help="One machine, step by step.")] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Refresh every second until interrupted.")] = False,
    json: JsonOption = False,
    socket: SocketOption = DEFAULT_SOCKET,
    url: UrlOption = None,
) -> None:
    """Print the boot timeline."""
    asyncio.run(show_status(machine, watch=watch, as_json=json, socket=socket, url=url))


@app.command(help=EXPLAIN_EXAMPLES)
def explain(
    who: Annotated[str, typer.Argument(metavar="MAC|UUID", help="The machine.", show_default=False)],
    arch: Annotated[
        str | None,
        typer.Option(metavar="NAME|N", help="Its firmware: bios, x64, arm64, x64-http, ... or a number of option 93."),
    ] = None,
    json: JsonOption = False,
    socket: SocketOption = DEFAULT_SOCKET,
    url: UrlOption = None,
) -> None:
    """Say what a machine would be offered."""
    asyncio.run(show_explanation(who, arch=arch, as_json=json, socket=socket, url=url))


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


@app.command(name="import", help=IMPORT_EXAMPLES)
def import_set(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="An archive, an ISO, files or a folder.")],
    root: Annotated[Path, typer.Option("--root", "-r", metavar="DIR", help="The boot tree.")] = DEFAULT_ROOT,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Its name in image/. Default: its own.")] = None,
    root_over: Annotated[
        Root | None,
        typer.Option(metavar="nbd|aoe|ram", help="How machines reach it. Default: as its initrd does best."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what has its name.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Take what KIWI builds into a boot tree."""
    import_files(files, root, sys.stdout, name=name, over=root_over, force=force, as_json=json)


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
    json: JsonOption = False,
    socket: SocketOption = DEFAULT_SOCKET,
    url: UrlOption = None,
) -> None:
    """List machines that registered."""
    asyncio.run(show_list(REGISTRATIONS, Place(socket, url), as_json=json))


@app.command(help=LEASES_EXAMPLES)
def leases(
    json: JsonOption = False,
    socket: SocketOption = DEFAULT_SOCKET,
    url: UrlOption = None,
) -> None:
    """List addresses that were given."""
    asyncio.run(show_list(LEASES, Place(socket, url), as_json=json))


@app.command(help=ENROLL_EXAMPLES)
def enroll(
    mac: Annotated[str, typer.Argument(metavar="MAC", help="The machine.", show_default=False)],
    group: Annotated[str | None, typer.Option("--group", "-g", metavar="NAME", help="Its group from now on.")] = None,
    socket: SocketOption = DEFAULT_SOCKET,
) -> None:
    """Answer a machine that registered."""
    name = asyncio.run(enroll_machine(mac, group, socket))
    typer.echo(f"{name} belongs to {group}" if group else f"{name} belongs to no group")


@app.command(help=CHECK_EXAMPLES)
def check(
    path: Annotated[
        Path, typer.Argument(metavar="TREE|CONFIG", help="A boot tree, a file in its KIWI/, or rootwire's own.")
    ],
    root: Annotated[
        Path | None,
        typer.Option("--root", "-r", metavar="DIR", help="The tree that a configuration elsewhere is meant for."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON array of findings.")] = False,
) -> None:
    """Look for traps in KIWI's configurations."""
    if not check_configs(path, root, Console(), as_json=json):
        raise typer.Exit(FOUND)


@app.command(help=CONVERT_EXAMPLES)
def convert(
    tree: Annotated[Path, typer.Argument(metavar="TREE", help="A boot tree with a folder KIWI/.", show_default=False)],
    json: Annotated[bool, typer.Option("--json", help="Print the tables, and what is left out, as JSON.")] = False,
) -> None:
    """Write KIWI's configurations as tables."""
    if not convert_tree(tree, sys.stdout, sys.stderr, as_json=json):
        raise typer.Exit(FOUND)


@app.command(help=DOCTOR_EXAMPLES)
def doctor(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="The TOML file that serve is given.")
    ] = None,
    interface: Annotated[
        str | None, typer.Option("--interface", "-i", metavar="NAME", help="The interface that faces the machines.")
    ] = None,
    root: Annotated[Path | None, typer.Option("--root", "-r", metavar="DIR", help="The boot tree.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print a JSON array of findings.")] = False,
) -> None:
    """Look for what keeps machines from booting."""
    given = {"interface": interface, "root": root}
    settings = load_config(config).model_copy(update={k: v for k, v in given.items() if v is not None})
    if not asyncio.run(examine_box(settings, Console(), as_json=json)):
        raise typer.Exit(FOUND)


@app.command(help=HEAT_EXAMPLES)
def heat(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The name of an image that is served.")],
    client: Annotated[
        str | None, typer.Option(metavar="MAC", help="Boots of this machine only. Default: of all, together.")
    ] = None,
    json: JsonOption = False,
    sort_file: Annotated[
        Path | None, typer.Option("--sort-file", metavar="FILE", help="Write the order for mksquashfs -sort.")
    ] = None,
    socket: SocketOption = DEFAULT_SOCKET,
    url: UrlOption = None,
) -> None:
    """Print what boots read of an image."""
    asyncio.run(show_heat(image, client=client, as_json=json, sort_file=sort_file, socket=socket, url=url))


exports_app = typer.Typer(help=EXPORTS_EXAMPLES, invoke_without_command=True, rich_markup_mode="rich")
app.add_typer(exports_app, name="exports")

WhoArgument = Annotated[str, typer.Argument(metavar="MAC|NAME", help="A machine, or one export.", show_default=False)]
ForceOption = Annotated[bool, typer.Option("--force", help="Even while it is open: its machine gets errors.")]


@exports_app.callback()
def exports(
    context: typer.Context,
    json: JsonOption = False,
    socket: SocketOption = DEFAULT_SOCKET,
    url: UrlOption = None,
) -> None:
    """List machines' disks."""
    if context.invoked_subcommand is None:
        asyncio.run(show_list(EXPORTS, Place(socket, url), as_json=json))


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
