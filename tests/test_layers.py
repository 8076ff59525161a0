"""The house rule that folders are layers, read from the sources (import-linter does not see .pyx)."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ["storage", "protocols", "appliance"]  # each may import itself and what stands before it
IMPORT = re.compile(r"^\s*(?:from|c?import)\s+((?:storage|protocols|appliance|deploy|tests)[\w.]*)", re.M)
# A channel is one peer of an endpoint, a pump its native half, a path the way there.
WORLDLY = {"endpoint", "channel", "pump", "path", "__init__"}
SOURCES = sorted(
    p for layer in LAYERS for p in (ROOT / layer).rglob("*") if p.suffix in {".py", ".pyx", ".pxd", ".pyi"}
)


def rooms() -> set[str]:
    """The protocols that have a folder of their own."""
    return {p.name for p in (ROOT / "protocols").iterdir() if p.is_dir() and (p / "__init__.py").exists()}


def imports_of(source: Path) -> list[str]:
    """The dotted names of our own packages that a source file imports or cimports."""
    return IMPORT.findall(source.read_text())


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_only_point_down(source: Path) -> None:
    """Nothing imports a layer above its own, nor tests or deploy."""
    layer = source.relative_to(ROOT).parts[0]
    allowed = LAYERS[: LAYERS.index(layer) + 1]
    assert [name for name in imports_of(source) if name.split(".")[0] not in allowed] == []


@pytest.mark.parametrize(
    "source", [s for s in SOURCES if "protocols" in s.parts], ids=lambda p: str(p.relative_to(ROOT))
)
def test_rooms_never_import_each_other(source: Path) -> None:
    """A protocol's folder imports itself and what all rooms share, never another protocol's folder."""
    own = source.relative_to(ROOT / "protocols").parts[0]
    others = rooms() - {own}
    assert [name for name in imports_of(source) if name.startswith("protocols.") and name.split(".")[1] in others] == []


@pytest.mark.parametrize(
    "source",
    [
        s
        for s in SOURCES
        if "protocols" in s.parts and rooms() & set(s.relative_to(ROOT).parts) and s.stem not in WORLDLY
    ],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_only_endpoints_touch_the_world(source: Path) -> None:
    """wire and session modules have no sockets, loop, clock or log."""
    found = re.findall(
        r"^\s*(?:from|import)\s+(asyncio|socket|time|structlog|logging|selectors)\b", source.read_text(), re.M
    )
    assert found == []


def test_top_level_holds_only_what_was_agreed() -> None:
    """The five names of the project, README, LICENSE and hidden files."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    tops = {line.split("/")[0] for line in tracked if line and not line.startswith(".")}
    assert tops <= {"pyproject.toml", "appliance", "protocols", "storage", "tests", "deploy", "README.md", "LICENSE"}
