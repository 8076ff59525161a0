"""How every image boots: each looked into once, its rule file followed, its initramfs made where it has none that does.

All of it takes seconds to minutes an image, so it happens in a thread of its own; readers get what is known so far.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from appliance.deployment.beside import version_beside
from appliance.deployment.cmdline import EXTRA
from appliance.deployment.rules import Rule, read_rule, rule_file
from appliance.deployment.survey import Deployment, look_into
from appliance.deployment.workshop import make_own_initrd, own_initrd_name
from appliance.errors import OperatorError
from appliance.images.catalog import Catalog, Entry
from appliance.initrd.builder import EXTRA_PACKAGES, has_extra_tools
from appliance.initrd.errors import InitrdError
from storage.errors import StorageError
from storage.squashfs import Squashfs

log = structlog.get_logger()

NO_RULE_FILE = (0, 0)
RETRY_SECONDS = 60.0  # after a failure; then twice that, and so on: a full disk may have room again by then
RETRY_MOST = 3600.0


class StoppedError(Exception):
    """The appliance ends: what was being made is given up."""


@dataclass(frozen=True, slots=True)
class OwnInitrd:
    """Rootwire's initramfs for an image's kernel: where it is, or why there is none; neither while it is being made.

    `extra` is its extra archive, which machines with disks load as well; None where tools for it are not installed.
    """

    path: Path | None = None
    extra: Path | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of one image; `read` is which rule file that is by: mtime in ns and size."""

    rule: Rule = field(default_factory=Rule)
    read: tuple[int, int] = NO_RULE_FILE
    version: str = ""  # of the image that was looked into
    deployment: Deployment | None = None
    own: OwnInitrd = OwnInitrd()
    failures: int = 0  # to make our own, one after the other
    again: float = 0.0  # when to try once more


class Deployments:
    """What is found in the images of a catalogue, and made for them."""

    def __init__(
        self, catalog: Catalog, folder: Path, kept: Path, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`folder` is image/, where the rule files are; `kept` is where initramfs archives stay across restarts."""
        self._clock = clock
        self._catalog = catalog
        self._folder = folder
        self._kept = kept
        self._known: dict[str, _Known] = {}
        self._is_stopped = threading.Event()

    def get(self, image: str) -> Deployment | None:
        """How the image boots; None while it has not been looked into."""
        return self._of(image).deployment

    def rule(self, image: str) -> Rule:
        """What the image's rule file says; one that says nothing where there is none."""
        return self._of(image).rule

    def own_initrd(self, image: str) -> OwnInitrd:
        """Rootwire's initramfs for the image's kernel."""
        return self._of(image).own

    def load_rules(self) -> None:
        """Read every image's rule file. Raises: OperatorError for the first that is wrong."""
        for entry in self._catalog:
            self._read_rule(entry)

    def refresh(
        self, needs_own: Callable[[Entry, Deployment], bool], learned: Callable[[], None] = lambda: None
    ) -> None:
        """Look into new images and follow changed rule files; make what `needs_own(entry, deployment)` says is needed.

        `learned` is called after each image about which more is known than before. Takes as long as it takes; ends
        early after `stop`. For one thread at a time.
        """
        entries = list(self._catalog)
        for entry in entries:
            if self._is_stopped.is_set():
                return
            self._follow_rule(entry)
            self._follow_content(entry)
            if self._of(entry.name).deployment is None:
                self._survey(entry)
                learned()
        for entry in entries:
            known = self._of(entry.name)
            if known.deployment is not None and known.deployment.kernel and self._is_to_be_made(known):
                if self._is_stopped.is_set():
                    return
                if needs_own(entry, known.deployment):
                    self._make_own(entry, known.deployment)
                    learned()

    def stop(self) -> None:
        """Have a `refresh` that is under way end soon."""
        self._is_stopped.set()

    def _of(self, image: str) -> _Known:
        return self._known.get(image) or _Known()

    def _learn(self, image: str, known: _Known) -> None:
        self._known = {**self._known, image: known}  # a new one: others may be going through the old

    def _read_rule(self, entry: Entry) -> None:
        path = rule_file(self._folder, entry.name)
        known, now = self._of(entry.name), _identity(path)
        if now == known.read:
            return
        self._learn(entry.name, replace(known, read=now))  # a wrong one is complained of once
        rule = Rule() if now == NO_RULE_FILE else read_rule(path)
        self._learn(entry.name, _Known(rule=rule, read=now))

    def _follow_rule(self, entry: Entry) -> None:
        """As at the start, but what is wrong with a file now is no reason to end: the image boots as it did."""
        try:
            self._read_rule(entry)
        except OperatorError as mistake:
            log.warning("rule_file_ignored", image=entry.name, reason=mistake.problem, remedy=mistake.remedy)

    def _follow_content(self, entry: Entry) -> None:
        """What was found in an image that was written to since says nothing any more."""
        known = self._of(entry.name)
        version = f"{entry.image.version} {version_beside(self._folder, entry.name)}"
        if known.version != version:
            self._learn(entry.name, _Known(rule=known.rule, read=known.read, version=version))

    def _is_to_be_made(self, known: _Known) -> bool:
        return known.own.path is None and (not known.own.problem or self._clock() >= known.again)

    def _survey(self, entry: Entry) -> None:
        known = self._of(entry.name)
        try:
            looked = look_into(self._folder / entry.name, entry.inside, known.rule, entry.format)
            found = looked or Deployment(problem=_unreadable(entry))
        except (OSError, StorageError) as failure:
            found = Deployment(problem=f"it is damaged ({failure})")
        self._learn(entry.name, replace(known, deployment=found))
        for remark in found.remarks:
            log.info("initramfs_passed_over", image=entry.name, reason=remark)
        if found.problem:
            log.warning("image_not_bootable", image=entry.name, reason=found.problem)
        else:
            roots = {root: str(kind) for root, kind in found.ways.items()}
            log.info("image_surveyed", image=entry.name, kernel=found.kernel, initrd=found.initrd or None, roots=roots)

    def _make_own(self, entry: Entry, found: Deployment) -> None:
        began = time.monotonic()
        try:
            path, is_new = self._own_initrd(entry, found)
        except (InitrdError, StorageError, OSError) as failure:
            self._note_failure(entry, found, str(failure))
        except StoppedError:
            return
        else:
            seconds = round(time.monotonic() - began, 1) if is_new else None
            log.info(
                "initramfs_ready",
                image=entry.name,
                kernel=found.version,
                bytes=path.stat().st_size,
                **{} if seconds is None else {"seconds": seconds},
            )
            extra = path.with_suffix(EXTRA)
            own = OwnInitrd(path, extra if extra.is_file() else None)
            if own.extra is None:
                log.warning("extra_archive_missing", image=entry.name, remedy=f"apt-get install {EXTRA_PACKAGES}")
            self._learn(entry.name, replace(self._of(entry.name), own=own))

    def _note_failure(self, entry: Entry, found: Deployment, reason: str) -> None:
        known = self._of(entry.name)
        wait = min(RETRY_MOST, RETRY_SECONDS * 2**known.failures)
        own = OwnInitrd(problem=reason)
        again = self._clock() + wait
        self._learn(entry.name, replace(known, own=own, failures=min(known.failures + 1, 16), again=again))
        log.error("initramfs_not_made", image=entry.name, kernel=found.version, reason=reason, next_try_seconds=wait)

    def _own_initrd(self, entry: Entry, found: Deployment) -> tuple[Path, bool]:
        """Where the initramfs is, and whether it had to be made."""
        files = entry.files
        if files is None or not found.modules:
            raise InitrdError(f"the image has no modules for its kernel {found.version}, so none can be made")
        path = self._kept / own_initrd_name(entry.name, entry.image.version, found.version)
        if path.is_file():
            return path, False
        log.info("initramfs_begun", image=entry.name, kernel=found.version)
        self._make(files, found, path)
        for old in self._kept.glob(f"{entry.name}-{'?' * 16}.initrd"):
            if old != path:
                old.unlink()
                old.with_suffix(EXTRA).unlink(missing_ok=True)
        return path, True

    def _make(self, files: Squashfs, found: Deployment, path: Path) -> None:
        def progress(_line: str) -> None:
            if self._is_stopped.is_set():
                raise StoppedError

        try:
            self._kept.mkdir(parents=True, exist_ok=True)
        except OSError as failure:
            raise InitrdError(f"{self._kept}: {failure.strerror}; it is where initramfs archives are kept") from failure
        extra = path.with_suffix(EXTRA) if has_extra_tools() else None
        new = path.with_suffix(".new")  # what is called so is there only once its extra archive is, too
        make_own_initrd(files, found.modules, found.version, new, extra=extra, progress=progress)
        new.replace(path)


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return NO_RULE_FILE
    return found.st_mtime_ns, found.st_size


def _unreadable(entry: Entry) -> str:
    if entry.format == "squashfs" or entry.is_medium:
        return "it is damaged"
    return f"only a squashfs and an ISO are looked into, and it is {entry.format}"
