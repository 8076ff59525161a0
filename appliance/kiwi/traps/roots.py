"""Traps of remote roots, and of lists whose empty fields clients drop."""

from collections.abc import Iterator

from appliance.kiwi.finding import Complaint, error, warning
from appliance.kiwi.names import DEFAULT, is_subnet_config, mac_asked_for
from appliance.kiwi.site import Document, Site

ROOTS = ("NFSROOT", "NBDROOT", "AOEROOT")  # in the order in which clients test them: the last one present wins


def empty_field(document: Document, site: Site) -> Iterator[Complaint]:
    """Since 2014-08 empty fields vanish, and later ones move left (NBDROOT's write device becomes a swap export)."""
    for key in ("IMAGE", "CONF", "VENDOR_CONF", "NBDROOT", "NFSROOT", "RAID"):
        for fields in document.entries(key):
            if "" in fields:
                effect = f"the client drops the empty field, and later ones move left: {';'.join(fields)[:80]}"
                yield error(document.line_of(key), effect, "fill every field up to the last one needed")


def root_ignored(document: Document, site: Site) -> Iterator[Complaint]:
    """Remote roots count only for machines with neither DISK nor IMAGE."""
    holder = next((key for key in ("DISK", "IMAGE") if document.line_of(key)), None)
    for key in ROOTS:
        if holder and (line := document.line_of(key)):
            yield warning(line, f"{key} is ignored where there is {holder}", f"keep one of {key} and {holder}")


def several_roots(document: Document, site: Site) -> Iterator[Complaint]:
    """They are not tried in turn."""
    named = [key for key in ROOTS if document.line_of(key)]
    if len(named) > 1:
        yield warning(document.line_of(named[0]), f"{named[-1]} wins over {', '.join(named[:-1])}", "keep one root")


def nfs_remote_write(document: Document, site: Site) -> Iterator[Complaint]:
    """Documented, but the test that should see it compares a variable that was overwritten."""
    rw = document.values.get("UNIONFS_CONFIG", "").split(",")[0]
    if document.line_of("NFSROOT") and rw and rw != "tmpfs":
        effect = f"writing to {rw} over an NFS root works in no version"
        yield error(document.line_of("UNIONFS_CONFIG"), effect, "say UNIONFS_CONFIG='tmpfs,nfs,overlay'")


def nfs_needs_version_3(document: Document, site: Site) -> Iterator[Complaint]:
    """Clients mount with vers=3."""
    if line := document.line_of("NFSROOT"):
        effect = "the client mounts NFS version 3 only, from a server that is not this appliance"
        yield warning(line, effect, "have rpcbind, mountd and nfsd with version 3 there, or use NBDROOT")


def nbd_by_port(document: Document, site: Site) -> Iterator[Complaint]:
    """What was a TCP port until 2014 is an export's name."""
    for fields in document.entries("NBDROOT"):
        if len(fields) > 1 and fields[1].isdigit() and site.find(f"image/{fields[1]}") is None:
            effect = f"clients since 2014-02 ask for an export called {fields[1]}: it is no port any more"
            yield error(document.line_of("NBDROOT"), effect, "name an image")


def nbd_export_missing(document: Document, site: Site) -> Iterator[Complaint]:
    """Exports are called as images are; another server may have others."""
    for fields in document.entries("NBDROOT"):
        export = fields[1] if len(fields) > 1 else ""
        if export and not export.isdigit() and site.find(f"image/{export}") is None:
            effect = f"there is no image/{export} to export: the client waits and reboots"
            yield warning(document.line_of("NBDROOT"), effect, f"put image/{export} there, or name one that is")


def no_root_at_all(document: Document, site: Site) -> Iterator[Complaint]:
    """What no hardware map or group adds to has to name something to boot."""
    is_final = is_subnet_config(document.path) or mac_asked_for(document.path) or document.path == DEFAULT
    if is_final and not any(document.line_of(key) for key in (*ROOTS, "IMAGE", "ERROR_INTERRUPT", "HARDWARE_MAP")):
        yield warning(0, "names no root: the client stops", "add one of IMAGE, NBDROOT, AOEROOT, NFSROOT")


TRAPS = (
    empty_field,
    root_ignored,
    several_roots,
    nfs_remote_write,
    nfs_needs_version_3,
    nbd_by_port,
    nbd_export_missing,
    no_root_at_all,
)
