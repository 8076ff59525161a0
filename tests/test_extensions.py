"""What pyproject.toml says of the extensions, read from the sources: a stale one would crash, not complain."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
EXTENSIONS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"][
    "ext-modules"
]
CIMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+cimport|cimport\s+([\w.]+))", re.M)


def declared_by(source: Path) -> set[Path]:
    """The declaration files of ours that a source file cimports."""
    names = ["".join(found).replace(".", "/") for found in CIMPORT.findall(source.read_text())]
    return {path for name in names if (path := ROOT / f"{name}.pxd").exists()}


def everything_declared_by(source: Path) -> set[str]:
    """Those, the source's own, and what they cimport in turn, by their paths in the repository."""
    seen: set[Path] = set()
    own = source.with_suffix(".pxd")
    waiting = declared_by(source) | ({own} if own.exists() else set())
    while waiting:
        path = waiting.pop()
        seen.add(path)
        waiting |= declared_by(path) - seen
    return {str(path.relative_to(ROOT)) for path in seen}


@pytest.mark.parametrize("extension", EXTENSIONS, ids=lambda extension: extension["name"])
def test_declarations_are_dependencies(extension: dict[str, Any]) -> None:
    """Whatever changes a struct or a vtable that an extension was compiled with has it compiled again."""
    wanted = everything_declared_by(ROOT / extension["sources"][0])
    assert wanted - set(extension.get("depends", [])) == set()


def test_every_source_is_built() -> None:
    """No extension is forgotten."""
    sources = {
        str(p.relative_to(ROOT))
        for layer in ("storage", "protocols", "appliance")
        for p in (ROOT / layer).rglob("*.pyx")
    }
    assert sources == {extension["sources"][0] for extension in EXTENSIONS}
