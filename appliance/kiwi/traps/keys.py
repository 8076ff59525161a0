"""Traps of single keys: documented ones that no client reads, and ones that do more than they say."""

import re
from collections.abc import Iterator

from appliance.kiwi.finding import Complaint, error, warning
from appliance.kiwi.site import Document, Site

_NEVER_READ = re.compile(r"POWEROFF\w*|ENCRYPT\w*|VGROUP|SYNC|POS_\w+|WORKSTATION_LDAP_IP|RELOAD|kiwitftp|kiwistderr")
_RUN_AS_COMMAND = re.compile(r"KIWI_HOOK_CMD_\w+|DEVICE_INIT")


def unionfs_configuration(document: Document, site: Site) -> Iterator[Complaint]:
    """The heading of the documentation's section is no key."""
    if line := document.line_of("UNIONFS_CONFIGURATION"):
        yield error(line, "the key is never read: the client boots without an overlay", "call it UNIONFS_CONFIG")


def overlayfs_is_no_type(document: Document, site: Site) -> Iterator[Complaint]:
    """What books call overlayfs, and aufs since 2012, is an unknown overlay mount method."""
    kind = document.values.get("UNIONFS_CONFIG", "").rpartition(",")[2].strip()
    if kind in ("overlayfs", "aufs"):
        effect = f"{kind} is an unknown overlay mount method: the client reboots"
        yield error(document.line_of("UNIONFS_CONFIG"), effect, "say overlay")


def boot_timeout_in_capitals(document: Document, site: Site) -> Iterator[Complaint]:
    """Code reads the other spelling."""
    line = document.line_of("KIWI_BOOT_TIMEOUT")
    if line and not document.line_of("kiwi_boot_timeout"):
        yield warning(line, "no client reads this spelling: the timeout stays 10 s", "published in both spellings")


def kernel_or_initrd_alone(document: Document, site: Site) -> Iterator[Complaint]:
    """Only both together are fetched, and only with a disk."""
    lines = [document.line_of(key) for key in ("KIWI_KERNEL", "KIWI_INITRD")]
    if any(lines) and not all(lines):
        yield warning(max(lines), "has no effect without the other of KIWI_KERNEL and KIWI_INITRD", "set both")
    elif any(lines) and not document.line_of("DISK"):
        yield warning(max(lines), "has no effect: only machines with a DISK fetch a kernel", "take both out")


def reboot_image_loops(document: Document, site: Site) -> Iterator[Complaint]:
    """It is done at the end of every network boot, not only after an installation."""
    if line := document.line_of("REBOOT_IMAGE"):
        effect = "the client reboots at the end of every network boot, for ever"
        yield warning(line, effect, "have its menu boot the local disk once it is installed, or take the key out")


def reload_image_always(document: Document, site: Site) -> Iterator[Complaint]:
    """A forced download is forced at every boot."""
    if line := document.line_of("RELOAD_IMAGE"):
        yield warning(line, "the image is fetched anew at every network boot", "take the key out when that is done")


def key_never_read(document: Document, site: Site) -> Iterator[Complaint]:
    """Keys that are often asked for, and in no version."""
    for line in document.lines:
        if line.key is not None and _NEVER_READ.fullmatch(line.key):
            yield warning(line.number, f"no netboot client reads {line.key}", "take the line out")


def secret_in_clear(document: Document, site: Site) -> Iterator[Complaint]:
    """Whoever is on the segment can ask for any configuration."""
    if line := document.line_of("luks_pass"):
        yield warning(line, "anybody on the network can read the pass phrase", "keep it out, or isolate the network")


def value_runs_as_command(document: Document, site: Site) -> Iterator[Complaint]:
    """Values that are commands by contract."""
    for line in document.lines:
        if line.key is not None and _RUN_AS_COMMAND.fullmatch(line.key):
            yield warning(line.number, f"{line.key} is a command line: root runs it", "be sure that you wrote it")


def kernel_cmdline_wins(document: Document, site: Site) -> Iterator[Complaint]:
    """Whoever can edit a command line then chooses the root."""
    if line := document.line_of("ALLOW_CMDLINE_OVERWRITE"):
        yield warning(
            line, "a root on the kernel command line replaces the ones given here", "take it out unless meant"
        )


TRAPS = (
    unionfs_configuration,
    overlayfs_is_no_type,
    boot_timeout_in_capitals,
    kernel_or_initrd_alone,
    reboot_image_loops,
    reload_image_always,
    key_never_read,
    secret_in_clear,
    value_runs_as_command,
    kernel_cmdline_wins,
)
