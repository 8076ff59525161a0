"""The linter as a whole: nothing to say of what the compiler makes, every trap tested, and the command's answers."""

import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance import cli
from appliance.kiwi import linter
from appliance.kiwi.compiler import compile_config
from appliance.kiwi.linter import check_document, check_tree
from appliance.kiwi.roots import root_config
from appliance.kiwi.site import Document, Site
from appliance.kiwi.traps import grammar, menus
from tests.appliance.kiwi import test_traps
from tests.appliance.kiwi.conftest import Write


@pytest.mark.parametrize("root", ["nbd", "aoe", "ram"])
def test_what_is_generated_is_clean(write: Write, root: str) -> None:
    """The appliance falls into none of the traps itself."""
    text = compile_config(root_config(root, image="edge-1", target="e0.1"), "10.0.0.1")  # type: ignore[arg-type]  # parametrized literals
    assert check_tree(Site(write({"KIWI/config.default": text, "image/edge-1": "x"}))) == []


def test_every_trap_has_a_test_named_after_it() -> None:
    """Also those that are more than one configuration's."""
    traps = [trap.__name__ for trap in (*linter.TRAPS, *menus.TRAPS, grammar.value_unreadable)]
    named = [*traps, "write_export_shared", "uploads_elsewhere", "empty_config", "config_unreadable"]
    assert [name for name in named if not hasattr(test_traps, f"test_{name}")] == []


@given(st.binary(max_size=300))
def test_hostile_text_is_only_looked_at(config: bytes) -> None:
    """Whatever the bytes, there are findings or none, and no exception."""
    check_document(Document.parse("KIWI/config.default", config), Site(Path("/nonexistent")))


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    """The exit status of `rootwire check`."""
    monkeypatch.setattr(sys, "argv", ["rootwire", "check", *words])
    with pytest.raises(SystemExit) as left:
        cli.main()
    return int(left.value.code or 0)


def test_check_tells_where_and_what(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """File and line, trap, effect and mend; exit 1."""
    tree = write({"KIWI/config.default": "# mine\nreboot\n"})
    assert run(monkeypatch, str(tree)) == 1
    shown = capsys.readouterr().out
    assert "KIWI/config.default:2  error  config-is-code\n" in shown
    assert "mend: take the line out" in shown
    assert shown.endswith("1 error, 1 warning\n")


def test_check_of_one_file_as_json(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file in KIWI/ is checked within its tree."""
    tree = write({"KIWI/config.default": "IMAGE='/dev/ram1;a;1;s;4096'\n", "image/a-1": "x"})
    assert run(monkeypatch, "--json", str(tree / "KIWI/config.default")) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_check_of_a_file_elsewhere(
    write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Such as one that is about to be put into a tree."""
    tree = write({"draft": "IMAGE='/dev/ram1;a;1;s;4096'\n", "tree/image/a-1": "x"})
    assert run(monkeypatch, str(tree / "draft"), "--root", str(tree / "tree")) == 0
    assert run(monkeypatch, str(tree / "draft")) == 1
    assert "image-missing" in capsys.readouterr().out


def test_check_of_tables(write: Write, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Of rootwire's own configuration: by their names, within the tree that it is for."""
    client = '.client]\nimage = [{ device = "/dev/ram1", name = "a", version = "1" }]\n'
    tables = f"[kiwi{client}[kiwi.groups.pos{client}[kiwi.machines.'52:54:00:a1:b2:c3'{client}"
    tree = write({"rootwire.toml": tables})
    assert run(monkeypatch, str(tree / "rootwire.toml")) == 2
    assert "--root DIR" in capsys.readouterr().err
    assert run(monkeypatch, "--json", str(tree / "rootwire.toml"), "--root", str(tree)) == 1
    found = json.loads(capsys.readouterr().out)
    assert [(one["path"], one["line"], one["trap"]) for one in found] == [
        ("[kiwi.client]", 0, "image-missing"),
        ("[kiwi.groups.pos]", 0, "image-missing"),
        ('[kiwi.machines."52:54:00:a1:b2:c3"]', 0, "image-missing"),
    ]
    write({"rootwire.toml": f"root = '{tree}'\n{tables}", "image/a-1": "x"})
    assert run(monkeypatch, str(tree / "rootwire.toml")) == 0
    assert capsys.readouterr().out == "no errors, no warnings\n"


def test_check_of_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An operator's mistake."""
    assert run(monkeypatch, str(tmp_path / "nothing")) == 2
