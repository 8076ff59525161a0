"""How a run ends: whose files were right, which status, and whose logs are kept."""

import os
from pathlib import Path

import pytest

from deploy.lab.client import Client
from deploy.lab.console import Mark, Sighting
from deploy.lab.plan import ClientPlan
from deploy.lab.run import KEPT_RUNS, check_files, new_run_folder

SUM = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def client(tmp_path: Path) -> Client:
    """A client that read its files and went off."""
    client = Client(ClientPlan(0, "bios", "nbd"), tmp_path / "console")
    client.began, client.ended = 0.0, 40.0
    client.seen[Mark.CHECKSUM] = (30.0, Sighting(Mark.CHECKSUM, {"files": "600", "md5": SUM}))
    client.seen[Mark.DONE] = (40.0, Sighting(Mark.DONE, {"uptime": "9.0"}))
    return client


def test_the_servers_checksum_is_a_success(client: Client) -> None:
    """The client stays succeeded."""
    check_files([client], SUM)
    assert client.succeeded


def test_another_checksum_is_a_failure(client: Client) -> None:
    """A boot that read wrong bytes is no boot."""
    check_files([client], "f" * 32)
    assert not client.succeeded
    assert client.failure == f"read other bytes than the image holds: md5 {SUM}, expected {'f' * 32}"


def test_a_failure_keeps_its_own_reason(client: Client) -> None:
    """What went wrong first is what the user has to know."""
    client.failure = "its kernel panicked: no init"
    check_files([client], "f" * 32)
    assert client.failure == "its kernel panicked: no init"


def test_old_runs_are_removed_but_not_labs_that_are_up(tmp_path: Path) -> None:
    """The oldest go first, and one with its tree is still in use, however old."""
    for number in range(KEPT_RUNS + 3):
        folder = tmp_path / f"{number:02d}"
        folder.mkdir()
        os.utime(folder, (number, number))
    (tmp_path / "00/tree").mkdir()
    os.utime(tmp_path / "00", (0, 0))
    new_run_folder("new", tmp_path).mkdir()
    kept = sorted(folder.name for folder in tmp_path.iterdir())
    assert kept == ["00", *(f"{number:02d}" for number in range(4, KEPT_RUNS + 3)), "new"]
