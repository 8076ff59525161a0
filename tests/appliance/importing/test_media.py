"""Media taken in: whole, and with a word on how they boot."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from appliance.deployment.media import LAYOUTS, LIVE, SUSE
from appliance.errors import OperatorError
from tests.appliance.deployment import archives
from tests.appliance.deployment.archives import archive, kernel
from tests.appliance.importing.conftest import Import
from tests.storage.isos import Tool, make_iso


@pytest.mark.parametrize(
    ("files", "place", "ways", "problem"),
    [
        (archives.KIWI_LIVE, SUSE, {"ram": "kiwi-live", "aoe": "kiwi-live"}, None),
        (archives.LIVE_BOOT, LIVE, {"ram": "live-boot"}, None),
        (archives.LOCAL, LIVE, {}, "its initramfs /live/initrd.img can't mount it over the network"),
    ],
)
def test_media_are_imported(
    tool: Tool,
    tmp_path: Path,
    tree: Path,
    run_import: Import,
    files: Mapping[str, bytes],
    place: tuple[str, str],
    ways: Mapping[str, str],
    problem: str | None,
) -> None:
    """As they are: kernel and initramfs are served from inside."""
    medium = make_iso(tool, tmp_path / "live.iso", {place[0]: kernel(), place[1]: archive(files)}, "-R")
    report = run_import(medium)
    assert (report["boots"], report["problem"]) == (ways, problem)
    assert report["kind"] == "live or installation medium"
    assert (tree / "image/live.iso").read_bytes() == medium.read_bytes()
    assert set(report["files"]) == {"image/live.iso", "image/live.iso.md5", "image/live.iso.sha256"}


def test_a_medium_that_is_cut_off_is_not_imported(tool: Tool, tmp_path: Path, tree: Path, run_import: Import) -> None:
    """Most downloads that fail are."""
    medium = make_iso(tool, tmp_path / "live.iso", {LAYOUTS[0].kernel: bytes(1 << 20)}, "-R")
    medium.write_bytes(medium.read_bytes()[: 1 << 20])
    with pytest.raises(OperatorError, match=r"live\.iso is cut off: .*: fetch it anew"):
        run_import(medium)
    assert not list((tree / "image").iterdir())
