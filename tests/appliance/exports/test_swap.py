"""appliance.exports.swap: a signature as mkswap makes it, and as util-linux reads it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.exports.swap import PAGE, SWAP_LEAST, build_signature


def test_swaplabel_knows_it(tool: Callable[[str], str], tmp_path: Path) -> None:
    """A label and a UUID, each area its own."""
    place = tmp_path / "swap"
    seen = set()
    for _ in range(2):
        place.write_bytes(build_signature(1 << 20))
        os.truncate(place, 1 << 20)
        told = subprocess.run([tool("swaplabel"), place], capture_output=True, text=True, check=True).stdout
        assert "LABEL: rootwire" in told
        seen.add(told)
    assert len(seen) == 2


def test_as_mkswap_makes_it(tool: Callable[[str], str], tmp_path: Path) -> None:
    """Byte for byte, given its label and its UUID."""
    place = tmp_path / "swap"
    place.touch(0o600)
    os.truncate(place, 1 << 20)
    ours = build_signature(1 << 20)
    own = f"{ours[1036:1052].hex()}"
    uuid = "-".join((own[:8], own[8:12], own[12:16], own[16:20], own[20:]))
    subprocess.run([tool("mkswap"), "-q", "-L", "rootwire", "-U", uuid, place], check=True, capture_output=True)
    assert place.read_bytes()[:PAGE] == ours


@pytest.mark.parametrize("size", [0, SWAP_LEAST - 1, PAGE << 33])
def test_sizes_that_no_kernel_takes(size: int) -> None:
    """Are mistakes of ours."""
    with pytest.raises(ValueError):
        build_signature(size)
