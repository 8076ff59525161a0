"""Images that are no longer what they were when they were opened, noticed while machines run from them."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import structlog

from appliance.images.catalog import Entry
from appliance.images.identity import Identity, identify

REMEDIES = {
    "rewritten": "who runs from it reads old and new mixed: boot those machines again, and replace images by renaming",
    "replaced": "machines keep the file they began with; restart the appliance to serve the new one",
    "removed": "machines keep the file they began with; it is gone when the appliance restarts",
}

log = structlog.get_logger()


class Changes:
    """Compares served images with their files; what changed is logged once, as an error."""

    def __init__(self) -> None:
        self._changed: dict[str, str] = {}  # by the image's name, a key of REMEDIES
        self._served: dict[str, Identity | None] = {}  # what each was when it was first looked at

    def look(self, entries: Iterable[Entry]) -> Mapping[str, Identity | None]:
        """What each image's open file is now; may wait for the disk."""
        identities: dict[str, Identity | None] = {}
        for entry in entries:
            try:
                identities[entry.name] = now = identify(entry.image.fileno())
            except OSError:  # its disk is away, which those who read it are told
                continue
            how = _compare(Path(entry.image.path), self._served.setdefault(entry.name, entry.identity), now)
            if how is None:
                self._changed.pop(entry.name, None)
            elif self._changed.get(entry.name) != how:
                self._changed[entry.name] = how
                log.error("image_changed", image=entry.name, how=how, remedy=REMEDIES[how])
        return identities

    def of(self, name: str) -> str | None:
        """How an image changed: "rewritten" in place, "replaced" by another file, "removed"; None: not at all."""
        return self._changed.get(name)


def _compare(path: Path, served: Identity | None, now: Identity | None) -> str | None:
    if now != served:
        return "rewritten"
    if now is None:
        return None
    try:
        there = identify(path)
    except OSError:  # the name leads nowhere any more
        return "removed"
    return None if there is not None and there.inode == now.inode else "replaced"
