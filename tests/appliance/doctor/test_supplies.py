"""Loaders, room and the clock."""

import shutil
import time
from collections import namedtuple
from pathlib import Path

import pytest

from appliance.doctor import supplies
from appliance.doctor.finding import Level
from tests.appliance.doctor.boxes import make_box, only, troubles

Usage = namedtuple("Usage", "total used free")  # what shutil gives


def test_missing_loaders(tmp_path: Path) -> None:
    """On a bare system all are missing: a finding for each package, which names it."""
    found = troubles(list(supplies.check_loaders(make_box(system=tmp_path))))
    assert {"apt install ipxe", "apt install pxelinux"} <= {finding.remedy for finding in found}


@pytest.mark.parametrize(("free", "level"), [(1 << 20, Level.ERROR), (100 << 20, Level.WARNING), (2 << 30, Level.OK)])
def test_space(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, free: int, level: Level) -> None:
    """Measured where the folder is, or will be."""
    asked = []

    def usage(path: Path) -> Usage:
        asked.append(path)
        return Usage(0, 0, free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert only(list(supplies.check_space(make_box(state=tmp_path / "not" / "yet")))).level is level
    assert asked == [tmp_path]


def test_no_place_to_write() -> None:
    """Nothing to say."""
    assert list(supplies.check_space(make_box())) == []


@pytest.mark.parametrize(("behind", "level"), [(0, Level.OK), (400 * 86400, Level.WARNING)])
def test_clock(monkeypatch: pytest.MonkeyPatch, behind: int, level: Level) -> None:
    """Told by this program's own files."""
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - behind)
    assert only(list(supplies.check_clock(make_box()))).level is level
