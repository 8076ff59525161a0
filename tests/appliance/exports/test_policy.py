"""appliance.exports.policy: a machine's own settings, else those for all, else what is usual."""

from pathlib import Path

import pytest

from appliance.config import load_config
from appliance.errors import OperatorError
from appliance.exports.policy import SWAP_SIZE, WRITE_SIZE, Policy, policy_of

OWN, OTHER = "52:54:00:a1:b2:c3", "52:54:00:00:00:01"


def policies(folder: Path, text: str) -> tuple[Policy, Policy]:
    """Of a machine with a table, and of another."""
    path = folder / "rootwire.toml"
    path.write_text(text)
    config = load_config(path)
    return policy_of(config, OWN), policy_of(config, OTHER)


def test_without_a_word_nobody_writes(tmp_path: Path) -> None:
    """Nor swaps."""
    assert policies(tmp_path, "")[1] == Policy("none", WRITE_SIZE, None, None, 0)


def test_settings_for_all_and_for_one(tmp_path: Path) -> None:
    """What a machine's own table does not say comes from [boot]; swap comes with a disk."""
    own, other = policies(
        tmp_path,
        '[boot]\nwrite = "discard"\nwrite_size = "2GiB"\nwrite_quota = "1GiB"\nwrite_base = "base"\n'
        f'[machines."{OWN}"]\nwrite = "keep"\nswap_size = 1048576\n',
    )
    assert own == Policy("keep", 2 << 30, 1 << 30, "base", 1 << 20)
    assert other == Policy("discard", 2 << 30, 1 << 30, "base", SWAP_SIZE)


def test_one_may_be_left_out(tmp_path: Path) -> None:
    """Where all others write."""
    own, other = policies(tmp_path, f'[boot]\nwrite = "keep"\n[machines."{OWN}"]\nwrite = "none"\n')
    assert (own.write, own.swap_size, other.write) == ("none", 0, "keep")


def test_swap_without_a_disk(tmp_path: Path) -> None:
    """Where it is asked for."""
    assert policies(tmp_path, '[boot]\nswap_size = "64MiB"\n')[1].swap_size == 64 << 20


@pytest.mark.parametrize("size", ['"4 potatoes"', "0", "1048577", '"2TiB"', "-1", '"100KiB"'])
def test_sizes_that_are_refused(tmp_path: Path, size: str) -> None:
    """Naming file and key."""
    with pytest.raises(OperatorError, match=r"boot\.write_size"):
        policies(tmp_path, f"[boot]\nwrite_size = {size}\n")
