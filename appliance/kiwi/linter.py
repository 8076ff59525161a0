"""Looks for the traps of KIWI's netboot in a boot tree, or in one configuration."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from appliance.kiwi.finding import Complaint, Finding, Level, Trap, error, warning
from appliance.kiwi.site import Document, Site, read_document
from appliance.kiwi.traps import disks, files, grammar, keys, lookups, menus, roots
from appliance.menus.pxelinux import parse_pxelinux

TRAPS: tuple[Trap, ...] = (
    *grammar.TRAPS,
    *keys.TRAPS,
    *roots.TRAPS,
    *disks.TRAPS,
    *files.TRAPS,
    *lookups.TRAPS,
)
MENU = "pxelinux.cfg/default"
MENU_MAX = 64 << 10  # bytes that are read: PXELINUX's own limit


def check_document(document: Document, site: Site, traps: Iterable[Trap] = TRAPS) -> list[Finding]:
    """Everything there is to say of one configuration, by line; of these traps, and of what can't be read at all."""
    found = [_finding(document.path, trap.__name__, said) for trap in traps for said in trap(document, site)]
    explained = {finding.line for finding in found if finding.level is Level.ERROR}
    for said in grammar.value_unreadable(document, site):
        if said.line not in explained:  # a trap with a name says it better
            found.append(_finding(document.path, grammar.value_unreadable.__name__, said))
    return sorted(found, key=lambda finding: finding.line)


def check_text(path: str, text: bytes, site: Site) -> list[Finding]:
    """The same of one that was typed in as a table, called `path`: `text` is compiled from it, so lines say nothing."""
    return [replace(finding, line=0) for finding in check_document(Document.parse(path, text), site)]


def check_file(path: str, site: Site, place: Path | None = None) -> list[Finding]:
    """Everything there is to say of one configuration, by its path from the site's root; `place`: it lies elsewhere."""
    try:
        document = read_document(place, path) if place else site.read(path)
    except (OSError, ValueError) as failure:
        reason = failure.strerror or "can't be read" if isinstance(failure, OSError) else str(failure)
        return [_finding(path, "config_unreadable", error(0, f"{reason}: clients get nothing", "make it readable"))]
    if document is None:
        empty = warning(0, "is empty: clients take it as missing", "write it, or remove it")
        return [_finding(path, "empty_config", empty)]
    return check_document(document, site)


def check_tree(site: Site) -> list[Finding]:
    """Everything there is to say of a boot tree: its configurations, its menu, its folder for uploads."""
    found = [finding for path in site.configs() for finding in check_file(path, site)]
    return [*found, *_check_shared_exports(site), *_check_menu(site), *_check_uploads(site)]


def errors_of(findings: Iterable[Finding]) -> list[Finding]:
    """Those that keep a configuration from being published."""
    return [finding for finding in findings if finding.level is Level.ERROR]


def _finding(path: str, name: str, said: Complaint) -> Finding:
    return Finding(path, said.line, name.replace("_", "-"), said.level, said.effect, said.mend)


def _check_menu(site: Site) -> Iterator[Finding]:
    place = site.find(MENU)
    if place is None:
        return
    with place.open("rb") as file:
        text = file.read(MENU_MAX).decode(errors="replace")
    labels = {
        line.split()[-1]: n for n, line in enumerate(text.splitlines(), 1) if line.strip().lower()[:6] == "label "
    }
    for choice in parse_pxelinux(text).choices:
        for trap in menus.TRAPS:
            for said in trap(choice, labels.get(choice.label, 0)):
                yield _finding(MENU, trap.__name__, said)


def _check_shared_exports(site: Site) -> Iterator[Finding]:
    """Two machines that write to one export destroy each other's data: each formats it."""
    users: dict[str, str] = {}
    for path in site.configs():
        try:
            document = site.read(path)
        except (OSError, ValueError):
            continue  # told of where the file itself is checked
        for export in _write_exports(document) if document else ():
            first = users.setdefault(export, path)
            if first != path:
                said = error(0, f"{export} is {first}'s for writing: the machines format it in turn", "name another")
                yield _finding(path, "write_export_shared", said)


def _write_exports(document: Document) -> Iterator[str]:
    yield from (fields[5] for fields in document.entries("NBDROOT") if len(fields) > 5 and fields[5])
    if (device := document.values.get("AOEROOT", "").partition(",")[2]).startswith("/dev/etherd/"):
        yield device


def _check_uploads(site: Site) -> Iterator[Finding]:
    """Anybody may write there."""
    if (site.root / "upload").is_symlink():
        said = error(0, "is a link: registrations are refused, or land where they should not", "make it a folder")
        yield _finding("upload", "uploads_elsewhere", said)
