"""A boot tree made of a few lines, and what the linter says of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.kiwi.finding import Finding
from appliance.kiwi.linter import check_tree
from appliance.kiwi.site import Site

MAC_CONFIG = "KIWI/config.52:54:00:A1:B2:C3"
Write = Callable[[dict[str, str | bytes]], Path]
Caught = Callable[..., list[Finding]]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Puts files into a tree, by their paths; returns its root."""

    def put(files: dict[str, str | bytes]) -> Path:
        for name, content in files.items():
            place = tmp_path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return put


@pytest.fixture
def caught(write: Write) -> Caught:
    """The findings of one trap in a tree with one machine's configuration, and whatever other files."""

    def look(trap: str, config: str = "", **files: str | bytes) -> list[Finding]:
        others = {name.replace("__", "/"): content for name, content in files.items()}
        tree = write({MAC_CONFIG: config, **others} if config else dict(others))
        return [finding for finding in check_tree(Site(tree)) if finding.trap == trap]

    return look
