"""What clients are given of an operator's configurations: compiled anew, checked, and never with an error in it.

A configuration that fails the check is withheld; its clients get the last one that passed, if there was one, which is
remembered across restarts. A machine's own file, or what its group and hardware map come to, is one final text.
"""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog
from pydantic import ValidationError

from appliance.kiwi.compiler import compile_config
from appliance.kiwi.finding import Finding, Level
from appliance.kiwi.groups import Resolution, resolve, resolve_group
from appliance.kiwi.linter import check_document, check_text, errors_of
from appliance.kiwi.model import LOOKUP_KEYS, ClientConfig, read_model, safe_text
from appliance.kiwi.names import CONFIG_PREFIX
from appliance.kiwi.site import Document, Site

Resolver = Callable[[], Resolution | None]

NAME_MAX = 255  # bytes of a file's name

log = structlog.get_logger()


class Publisher:
    """Gives the texts; its methods read files and may wait for the disk."""

    def __init__(self, root: Path, *, server: str, kept: Path) -> None:
        """`root` is the boot tree's folder, `server` our IPv4 address, `kept` a folder for what passed last."""
        self.site = Site(root)
        self._server = server
        self._kept = kept
        self._refused: dict[str, list[Finding]] = {}
        self._lock = threading.Lock()
        self._is_forgetful = False

    def machine(self, mac: str) -> bytes | None:
        """A machine's final configuration; None where the tree has none for it, or none that passes."""
        return self._resolved(f"{CONFIG_PREFIX}{mac.upper()}", lambda: resolve(self.site, mac))

    def member(self, group: str, mac: str) -> bytes | None:
        """The final configuration of a machine that belongs to a group of the tree, as for `machine`."""
        return self._resolved(f"{CONFIG_PREFIX}{mac.upper()}", lambda: resolve_group(self.site, group, mac))

    def file(self, path: str) -> bytes | None:
        """A configuration that is no machine's own: of all, of a subnet, of a group, a map."""
        return self._resolved(path, lambda: _alone(self.site.read(path)))

    def model(self, path: str, config: ClientConfig) -> bytes | None:
        """A configuration that was typed in, under the name by which messages call it."""
        text = compile_config(config, self._server)
        return self._passed(path, text, check_text(path, text, self.site))

    def has_own(self, mac: str) -> bool:
        """Whether something in the tree is meant for this machine, whether it passes or not."""
        return f"{CONFIG_PREFIX}{mac.upper()}" in self._refused

    def refused(self) -> list[Finding]:
        """The errors for which configurations are withheld at present, of those that were asked for."""
        with self._lock:
            return [finding for findings in self._refused.values() for finding in findings]

    def _resolved(self, path: str, find: Resolver) -> bytes | None:
        try:
            found = find()
            if found is None:
                self._forget(path)
                return None
            findings = [finding for source in found.sources for finding in check_document(source, self.site)]
            lookups = (
                _lookups(found.sources[0].values) if len(found.sources) == 1 and path == found.sources[0].path else ""
            )
            text = b"" if errors_of(findings) else lookups.encode() + self._compile(found.values)
        except (OSError, ValueError, LookupError) as failure:
            reason = failure.errors()[0]["msg"] if isinstance(failure, ValidationError) else str(failure)
            broken = Finding(path, 0, "config-unreadable", Level.ERROR, f"{reason}: it can't be made", "mend the file")
            return self._passed(path, b"", [broken])
        return self._passed(path, text, findings)

    def _compile(self, values: Mapping[str, str]) -> bytes:
        return compile_config(read_model(values), self._server)

    def _passed(self, path: str, text: bytes, findings: list[Finding]) -> bytes | None:
        """The text, or the last one that passed."""
        bad = errors_of(findings)
        with self._lock:
            before = self._refused.pop(path, [])
            if bad:
                self._refused[path] = bad
        place = self._place(path)
        if not bad:
            self._keep(place, text)
            return text
        last = place.read_bytes() if place.is_file() else None
        if bad != before:
            for finding in bad:
                log.error(
                    "config_refused",
                    config=path,
                    place=finding.place,
                    trap=finding.trap,
                    effect=finding.effect,
                    remedy=finding.mend,
                    instead="the last good one" if last else "none",
                )
        return last

    def _forget(self, path: str) -> None:
        """What is not there any more is not kept either."""
        with self._lock:
            self._refused.pop(path, None)
        if len(path) <= NAME_MAX:
            self._place(path).unlink(missing_ok=True)

    def _place(self, path: str) -> Path:
        return self._kept / path.replace("/", "_")

    def _keep(self, place: Path, text: bytes) -> None:
        """Remember what passed. A tree that can't be written to is one that forgets, which is said once."""
        try:
            if place.is_file() and place.read_bytes() == text:
                return
            place.parent.mkdir(parents=True, exist_ok=True)
            part = place.with_name(f"{place.name}.{threading.get_ident()}.part")
            part.write_bytes(text)
            part.rename(place)
        except OSError as failure:
            if not self._is_forgetful:
                log.warning("config_not_kept", path=str(place), reason=str(failure))
            self._is_forgetful = True


def _alone(document: Document | None) -> Resolution | None:
    return None if document is None else Resolution(document.values, (document,))


def _lookups(values: Mapping[str, str]) -> str:
    """The keys that say who is in which group or map: part of no machine's final configuration."""
    return "".join(f"{key}='{safe_text(value)}'\n" for key, value in values.items() if LOOKUP_KEYS.fullmatch(key))
