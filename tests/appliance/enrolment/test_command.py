"""`rootwire machines`, `enroll` and `status` as an operator runs them, at an appliance with clients."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from appliance.cli import main
from tests.appliance.test_cli import IMAGE, ROOTWIRE
from tests.protocols.network import cable, fresh_network, ip
from tests.ready import is_readable

pytestmark = pytest.mark.root
BOX = "10.11.0.1"
TILL, OFFICE, ARM = "52:54:00:A1:B2:C3", "AA:BB:CC:00:00:01", "52:54:00:00:00:09"
CONFIG = """
[kiwi]
unknown = "register"
[kiwi.groups.pos]
client = {nbdroot = {export = "edge-1"}, unionfs_config = "tmpfs,nbd,overlay"}
[kiwi.groups.office]
prefixes = ["AA-BB-CC"]
client = {aoeroot = "/dev/etherd/e0.1", unionfs_config = "tmpfs,aoe,overlay"}
[kiwi.groups.arm]
architectures = ["aarch64"]
client = {nbdroot = {export = "edge-1"}, unionfs_config = "tmpfs,nbd,overlay"}
"""
TOO_LONG = 120  # seconds until an appliance that does not start fails its test


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(socket: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process, for an interpreter's start takes long; its status and all that it said."""

    def invoke(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["rootwire", *words, "--socket", str(socket)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out + said.err

    return invoke


@pytest.fixture(scope="module")
def socket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running appliance's, whose tree has one image and a configuration with a trap in it."""
    tmp_path = tmp_path_factory.mktemp("tree")
    for folder in ("image", "KIWI"):
        (tmp_path / folder).mkdir()
    (tmp_path / "image/edge-1").write_bytes(IMAGE)
    (tmp_path / "KIWI/config.0A0B").write_text("UNIONFS_CONFIG='tmpfs,nbd,overlayfs'\n")
    (tmp_path / "r.toml").write_text(CONFIG)
    place = tmp_path / "s"
    told = ("--interface", "near", "--root", tmp_path, "--config", tmp_path / "r.toml", "--socket", place)
    with fresh_network():
        cable("near", "far")
        ip("link", "set", "lo", "up")
        ip("addr", "add", f"{BOX}/24", "dev", "near")
        process = subprocess.Popen([*ROOTWIRE, "serve", *map(str, told)], stderr=subprocess.PIPE)
        try:
            await_start(process)
            yield place
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=TOO_LONG)


def await_start(process: subprocess.Popen[bytes]) -> None:
    """Return once it serves."""
    assert process.stderr is not None
    said = b""
    while b"appliance_started" not in said:
        ready = is_readable(process.stderr, TOO_LONG)
        part = os.read(process.stderr.fileno(), 65536) if ready else b""
        assert part, said
        said += part


def register(mac: str, architecture: str = "x86_64") -> None:
    """Upload what a client does that finds no configuration."""
    text = f"NCNAME=till 1\nCRNAME=till 1\nIPADDR=10.11.0.57\nARCHITECTURE={architecture}\n"
    assert ask("PUT", f"/upload/client.{mac}", text.encode())[0] in (200, 201, 204)


def client_config(mac: str) -> str | None:
    """What the client is told when it asks next."""
    status, found = ask("GET", f"/KIWI/config.{mac}")
    assert status in (200, 404)
    return found if status == 200 else None


def ask(method: str, path: str, content: bytes | None = None) -> tuple[int, str]:
    """One request over HTTP; status and content of its answer."""
    connection = HTTPConnection(BOX, timeout=TOO_LONG)
    try:
        connection.request(method, path, content)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_a_machine_registers_and_is_enrolled(run: Run) -> None:
    """It is listed as waiting until an operator says whose it is; the next poll has its configuration."""
    assert "no machine has registered" in run("machines")[1]
    assert client_config(TILL) is None
    register(TILL)
    line = next(one for one in run("machines")[1].splitlines() if "52:54" in one)
    assert line.split()[0] == TILL.lower()
    assert "till 1" in line
    assert "waits" in line
    assert client_config(TILL) is None
    done = run("enroll", TILL.replace(":", "-"), "--group", "pos")
    assert done == (0, f"{TILL.lower()} belongs to pos\n")
    (found,) = json.loads(run("machines", "--json")[1])
    assert (found["mac"], found["group"], found["waiting"]) == (TILL.lower(), "pos", False)
    assert f"NBDROOT='{BOX};edge-1;/dev/nbd0" in (client_config(TILL) or "")
    assert run("enroll", TILL) == (0, f"{TILL.lower()} belongs to no group\n")
    assert client_config(TILL) is None


def test_rules_answer_by_themselves(run: Run) -> None:
    """By the first digits of the MAC, and by the architecture that the machine says it has."""
    register(OFFICE)
    register(ARM, "aarch64")
    found = json.loads(run("machines", "--json")[1])
    assert {one["mac"]: (one["group"], one["waiting"]) for one in found if one["mac"] != TILL.lower()} == {
        ARM: ("arm", False),
        OFFICE.lower(): ("office", False),
    }
    assert "AOEROOT='/dev/etherd/e0.1'" in (client_config(OFFICE) or "")
    assert "NBDROOT=" in (client_config(ARM) or "")


def test_mistakes(run: Run) -> None:
    """A group that there is not; what is no MAC."""
    status, told = run("enroll", TILL, "--group", "tills")
    assert (status, told.count("\n")) == (2, 1)
    assert "there is no group tills" in told
    status, told = run("enroll", "till1", "--group", "pos")
    assert (status, told.count("\n")) == (2, 1)
    assert "till1" in told


def test_status_tells_of_what_was_refused(run: Run) -> None:
    """A configuration of the tree with a trap in it is not served, and why not stands below the machines."""
    assert client_config("0A0B") is None
    told = " ".join(run("status")[1].split())
    assert "KIWI/config.0A0B" in told
    assert "overlayfs" in told
