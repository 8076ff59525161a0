"""Registrations as strangers may have written them."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from appliance.enrolment.command import registrations_view
from appliance.enrolment.inbox import Inbox, Registration
from appliance.enrolment.members import Enrolments

MAC = "52:54:00:a1:b2:c3"


def inbox_with(root: Path, **files: bytes) -> Inbox:
    """The inbox of a tree with these uploads."""
    (root / "upload").mkdir(exist_ok=True)
    for name, content in files.items():
        (root / "upload" / name).write_bytes(content)
    return Inbox(root)


def test_both_generations_of_names_are_one_machine(tmp_path: Path) -> None:
    """hwtype.* until 2011-04, client.* since; the log of hwinfo is none."""
    old, new = b"NCNAME=old\n", b"NCNAME=new\nIPADDR=10.0.0.7\nARCHITECTURE='x86_64'\n"
    upper = MAC.upper()
    files = {f"hwtype.{upper}.0a": old, f"client.{upper}": new, f"hwinfo.{upper}": b"NCNAME=log\n", "other.txt": old}
    (found,) = inbox_with(tmp_path, **files)
    assert found == Registration(MAC, found.at, "new", "10.0.0.7", "x86_64")


def test_hostile_values_are_left_out(tmp_path: Path) -> None:
    """Whatever is more than a word or two is no name; the alias that nobody typed is none."""
    text = b"NCNAME=\x1b[2J\nCRNAME=undefined\nIPADDR=$(reboot)\nARCHITECTURE=" + b"x" * 100 + b"\n"
    (found,) = inbox_with(tmp_path, **{f"client.{MAC.upper()}": text})
    assert (found.alias, found.address, found.architecture) == (None, None, None)


def test_a_link_is_no_registration(tmp_path: Path) -> None:
    """Whoever could make one could have any file shown."""
    inbox = inbox_with(tmp_path)
    (tmp_path / "upload" / f"client.{MAC.upper()}").symlink_to("/etc/hostname")
    assert list(inbox) == []
    assert inbox.get(MAC) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_any_bytes_are_a_registration(tmp_path: Path, content: bytes) -> None:
    """That it came is worth knowing, whatever is in it."""
    assert [found.mac for found in inbox_with(tmp_path, **{f"client.{MAC.upper()}": content})] == [MAC]


def test_enrolments_that_can_not_be_read_are_none(tmp_path: Path) -> None:
    """Machines then ask again; the file is written anew with the next enrolment."""
    (tmp_path / ".rootwire").mkdir()
    (tmp_path / ".rootwire/enrolled.json").write_text("[1")
    enrolled = Enrolments(tmp_path)
    assert list(enrolled) == []
    enrolled.put(MAC, "pos")
    assert Enrolments(tmp_path)[MAC] == "pos"
    enrolled.put(MAC, None)
    assert list(Enrolments(tmp_path)) == []


def test_no_registrations_are_told_in_words() -> None:
    """An empty table would say nothing."""
    assert "no machine has registered" in str(registrations_view([]))
