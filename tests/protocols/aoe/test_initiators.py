"""The table of who uses what."""

from protocols.aoe.initiators import Account, Initiator, InitiatorTable


def test_totals_are_kept_per_machine_and_target() -> None:
    """Bytes and commands; `since` is the first time."""
    table = InitiatorTable(8)
    table.touch("a", 0, 1, 10.0).note_command(read=512)
    table.touch("a", 0, 1, 11.0).note_command(written=1024)
    table.touch("a", 0, 2, 12.0).note_identify()
    assert table.snapshot() == [Initiator("a", 0, 1, 512, 1024, 2, 10.0), Initiator("a", 0, 2, 0, 0, 1, 12.0)]


def test_a_machine_that_only_asked_is_no_initiator() -> None:
    """It shows with its first ATA command."""
    table = InitiatorTable(8)
    account = table.touch("a", 0, 1, 1.0)
    account.note_query()
    assert table.snapshot() == []
    account.note_identify()
    assert len(table.snapshot()) == 1


def test_the_quietest_is_forgotten_first() -> None:
    """At the limit a newcomer takes the place of whom nothing was heard of the longest."""
    table = InitiatorTable(2)
    for mac in ("a", "b", "a", "c"):
        table.touch(mac, 0, 1, 0.0).note_command()
    assert [initiator.mac for initiator in table.snapshot()] == ["a", "c"]


def test_a_removed_target_takes_its_accounts_along() -> None:
    """Other targets' stay."""
    table = InitiatorTable(8)
    table.touch("a", 0, 1, 0.0).note_command()
    table.touch("a", 0, 2, 0.0).note_command()
    table.forget(0, 1)
    assert [initiator.slot for initiator in table.snapshot()] == [2]


def test_identify_is_new_unless_it_repeats() -> None:
    """Straight after another it is a repeat; after a query or any other command it is not."""
    account = Account(0.0)
    assert [account.note_identify(), account.note_identify()] == [True, False]
    account.note_query()
    assert account.note_identify()
    account.note_command(read=512)
    assert account.note_identify()
