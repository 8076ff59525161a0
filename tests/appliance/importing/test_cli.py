"""`rootwire import` as an operator meets it."""

import json
from pathlib import Path

import pytest

from tests.appliance.importing.kiwi import NAME, ROOT_SETS, tarball
from tests.appliance.test_cli import complaint, rootwire


def test_help_has_examples() -> None:
    """With what it takes, and how."""
    done = rootwire("import", "--help")
    assert "Examples" in done.stdout
    assert "edge.x86_64-1.2.0.tar.xz" in done.stdout


def test_what_it_prints(tree: Path, tmp_path: Path) -> None:
    """Every file with its size, then one line for all of it; as JSON with --json; no bar for what is quick."""
    path = tmp_path / f"{NAME}.tar.xz"
    path.write_bytes(tarball({**ROOT_SETS["kis 10"], "kiwi.result": b"?"}, mode="w:xz"))
    done = rootwire("import", path, "--root", tree)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-4:] == [
        f"image/{NAME}.sha256  72 bytes",
        "left out: kiwi.result",
        f"imported {NAME}, root image, as its checksum says",
        "machines boot it over nbd (kiwi-overlay), aoe (kiwi-overlay)",
    ]
    report = json.loads(rootwire("import", path, "--root", tree, "--force", "--json").stdout)
    assert report["files"][f"image/{NAME}"] == 8192


@pytest.mark.parametrize("given", ["none.tar", "empty", "text", "archive.tar"])
def test_mistakes_are_one_line(tree: Path, tmp_path: Path, given: str) -> None:
    """With exit status 2, and the tree as it was."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("hello")
    (tmp_path / "archive.tar").write_bytes(tarball({"../x": b""}))
    complaint(rootwire("import", tmp_path / given, "--root", tree))
    assert not list((tree / "image").iterdir())


def test_a_tree_that_there_is_not(tmp_path: Path) -> None:
    """Is not made: it would be one that nobody serves."""
    assert "is no folder: name the boot tree" in complaint(rootwire("import", tmp_path, "--root", tmp_path / "none"))
