"""The configuration file: all of it optional, none of it silently ignored."""

from pathlib import Path

import pytest

from appliance.config import LIMITS, load_config
from appliance.errors import OperatorError
from protocols.nbd.endpoint import NbdLimits


def written(tmp_path: Path, text: str) -> Path:
    """A configuration file with this text."""
    path = tmp_path / "rootwire.toml"
    path.write_text(text)
    return path


def test_no_file_is_a_whole_configuration() -> None:
    """Every setting has a default, and every room its limits."""
    config = load_config(None)
    assert config.boot.root is None
    for room, kind in LIMITS.items():
        assert config.limits_for(room, kind) == kind()


def test_machines_are_known_by_any_spelling_of_their_mac(tmp_path: Path) -> None:
    """Dashes and upper case in the file, one spelling inside."""
    config = load_config(written(tmp_path, '[machines."52-54-00-77-00-0A"]\nroot = "aoe"\n'))
    assert config.machines["52:54:00:77:00:0a"].root == "aoe"


def test_a_limit_can_be_set(tmp_path: Path) -> None:
    """One field of one room; the rest keep their defaults."""
    field = next(iter(NbdLimits.__dataclass_fields__))
    config = load_config(written(tmp_path, f"[limits.nbd]\n{field} = 7\n"))
    assert getattr(config.limits_for("nbd", NbdLimits), field) == 7


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[boot", "is no TOML"),
        ('[boot]\nroot = "floppy"\n', "boot.root"),
        ('[boot]\nrot = "nbd"\n', "boot.rot"),
        ('[machines."nonsense"]\nroot = "nbd"\n', "machines.nonsense"),
        ('[boot]\nappend = "a\\nb"\n', "one line"),
        ('[boot]\nimage = "../x"\n', "boot.image"),
        ("[limits.nbd]\nno_such = 1\n", "limits.nbd.no_such"),
        ("[limits.tftp]\nmax_transfers = 0\n", "limits.tftp.max_transfers"),
        ("interface = 3\n", "interface"),
    ],
)
def test_a_mistake_is_named_with_its_key(tmp_path: Path, text: str, named: str) -> None:
    """File and key, on one line."""
    with pytest.raises(OperatorError) as caught:
        load_config(written(tmp_path, text))
    assert named in str(caught.value)
    assert "rootwire.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Not a traceback."""
    with pytest.raises(OperatorError, match=r"none\.toml"):
        load_config(tmp_path / "none.toml")
