"""CONF and VENDOR_CONF: which files are fetched, kept and deleted, and that nothing lands outside the root."""

from pathlib import Path

import pytest

from tests.appliance.initrd.conftest import MAC, Shell
from tests.appliance.initrd.stubs import Stub, http_stub

SYNC = """
PATIENCE_SECONDS=
server=127.0.0.1:$1 kiwiservertype=http from=test machine_mac=$2 ROOT=$3
config_conf=$4 config_vendor_conf=$5 config_reload_config=$6
echo IMAGE=x > "$RUN/config"
sync_conf
"""
FILES = {f"/conf/{name}": f"{name}\n".encode() for name in ("a", "b", "c")}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root to put files into."""
    folder = tmp_path / "root"
    (folder / "etc").mkdir(parents=True)
    return folder


def sync(
    shell: Shell, root: Path, conf: str, *, vendor: str = "", reload: str = "", files: dict[str, bytes] = FILES
) -> tuple[list[str], str]:
    """What was asked for and said."""
    with http_stub(Stub(files)) as stub:
        done = shell(SYNC, str(stub.port), MAC, root, conf, vendor, reload)
    return [name.removeprefix("/") for name in stub.asked], (done.stdout + done.stderr).decode()


def test_files_are_put_into_the_root(shell: Shell, root: Path) -> None:
    """With their folders; the list and the configuration are kept beside them."""
    asked, _ = sync(shell, root, "conf/a;/etc/a;s;4096;h1,/conf/b;/opt/new/b;s;4096,")
    assert asked == ["conf/a", "conf/b"]
    assert ((root / "etc/a").read_text(), (root / "opt/new/b").read_text()) == ("a\n", "b\n")
    listed = (root / "etc/KIWI/InstalledConfigFiles").read_text()
    assert listed == "CONF='conf/a;/etc/a;127.0.0.1;4096;h1,conf/b;/opt/new/b;127.0.0.1;4096'\n"
    assert (root / f"etc/KIWI/config.{MAC}").read_text() == "IMAGE=x\n"


@pytest.mark.parametrize(
    ("second", "reload", "asked"),
    [
        ("conf/a;/etc/a;s;4096;h1", "", []),
        ("conf/a;/etc/a;other;512;h1", "", []),
        ("conf/a;/etc/a;s;4096;h2", "", ["conf/a"]),
        ("conf/a;/etc/a;s;4096", "", ["conf/a"]),
        ("conf/b;/etc/a;s;4096;h1", "", ["conf/b"]),
        ("conf/a;/etc/a;s;4096;h1", "yes", ["conf/a"]),
        ("conf/a;/etc/a;s;4096;h1,conf/b;/etc/b;s;4096", "", ["conf/b"]),
    ],
)
def test_only_what_changed_is_fetched_again(
    shell: Shell, root: Path, second: str, reload: str, asked: list[str]
) -> None:
    """Another hash or another source; everything with RELOAD_CONFIG."""
    sync(shell, root, "conf/a;/etc/a;s;4096;h1")
    assert sync(shell, root, second, reload=reload)[0] == asked


def test_a_file_that_went_is_fetched_again(shell: Shell, root: Path) -> None:
    """Whatever the list says."""
    sync(shell, root, "conf/a;/etc/a;s;4096;h1")
    (root / "etc/a").unlink()
    assert sync(shell, root, "conf/a;/etc/a;s;4096;h1")[0] == ["conf/a"]


def test_what_is_not_listed_any_more_is_deleted(shell: Shell, root: Path) -> None:
    """Of what the client itself installed; the last file, too."""
    (root / "etc/own").write_text("image's\n")
    sync(shell, root, "conf/a;/etc/a;s;4096,conf/b;/etc/b;s;4096")
    _, said = sync(shell, root, "conf/b;/etc/b;s;4096")
    assert "CONF /etc/a is deleted" in said
    assert sorted(path.name for path in (root / "etc").iterdir()) == ["KIWI", "b", "own"]
    sync(shell, root, "")
    assert sorted(path.name for path in (root / "etc").iterdir()) == ["KIWI", "own"]


def test_vendor_conf_outranks_conf(shell: Shell, root: Path) -> None:
    """For the same file only the last source is asked."""
    asked, _ = sync(shell, root, "conf/a;/etc/a;s;4096", vendor="conf/b;/etc/a;s;4096")
    assert (asked, (root / "etc/a").read_text()) == (["conf/b"], "b\n")


def test_a_file_the_server_has_not_changes_nothing(shell: Shell, root: Path) -> None:
    """What was there stays, is told, and is asked for again at the next boot."""
    sync(shell, root, "conf/a;/etc/a;s;4096;h1")
    _, said = sync(shell, root, "conf/a;/etc/a;s;4096;h2", files={})
    assert "CONF: conf/a is not on test: /etc/a stays as it is" in said
    assert (root / "etc/a").read_text() == "a\n"
    assert sorted(path.name for path in (root / "etc").iterdir()) == ["KIWI", "a"]
    assert sync(shell, root, "conf/a;/etc/a;s;4096;h2")[0] == ["conf/a"]


def test_modes_are_kept(shell: Shell, root: Path) -> None:
    """A secret stays one; a new file is for everybody."""
    (root / "etc/a").write_text("old")
    (root / "etc/a").chmod(0o600)
    sync(shell, root, "conf/a;/etc/a;s;4096,conf/b;/etc/b;s;4096")
    assert [(root / f"etc/{name}").stat().st_mode & 0o777 for name in "ab"] == [0o600, 0o644]


@pytest.mark.parametrize(
    "entry",
    [
        "conf/a;etc/a;s",
        "conf/a;/../a;s",
        "conf/../a;/etc/a;s",
        "conf/a;;s",
        ";/etc/a;s",
        "conf/a;/etc/$(x);s",
        "-x;/etc/a;s",
    ],
)
def test_bad_entries_are_left_out(shell: Shell, root: Path, entry: str) -> None:
    """Named, with the form; the others count."""
    asked, said = sync(shell, root, f"{entry},conf/b;/etc/b;s;4096")
    assert asked == ["conf/b"]
    assert "is left out: write SRC;/DEST;SERVER;4096;HASH" in said


@pytest.mark.parametrize("target", ["/out/a", "/out/deep/a", "/etc/folder"])
def test_nothing_lands_outside_the_root(shell: Shell, root: Path, tmp_path: Path, target: str) -> None:
    """Links that lead out of it, and folders, are no place for a file."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "out").symlink_to(outside)
    (root / "etc/folder").mkdir()
    asked, said = sync(shell, root, f"conf/a;{target};s;4096")
    assert asked == []
    assert f"CONF: {target} is no place for a file in this root" in said
    assert [path for path in outside.rglob("*") if path.is_file()] == []


def test_a_link_is_replaced_not_followed(shell: Shell, root: Path, tmp_path: Path) -> None:
    """What it points to stays as it is."""
    (tmp_path / "secret").write_text("kept")
    (root / "etc/a").symlink_to(tmp_path / "secret")
    sync(shell, root, "conf/a;/etc/a;s;4096")
    assert ((tmp_path / "secret").read_text(), (root / "etc/a").is_symlink()) == ("kept", False)
