"""protocols.http.lobby: who gets in."""

from protocols.http.lobby import HttpLimits, Lobby


def test_room_for_so_many() -> None:
    """One more than the limit waits until one has left."""
    lobby = Lobby(HttpLimits(connections=2))
    assert lobby.enter("a")
    assert lobby.enter("b")
    assert not lobby.enter("c")
    lobby.leave("a")
    assert lobby.enter("c")


def test_one_client_does_not_take_all() -> None:
    """Its own limit leaves room for others."""
    lobby = Lobby(HttpLimits(connections=3, connections_per_client=2))
    assert lobby.enter("a")
    assert lobby.enter("a")
    assert not lobby.enter("a")
    assert lobby.enter("b")
    lobby.leave("a")
    assert lobby.enter("a")
    assert not lobby.enter("a")


def test_a_client_that_left_is_forgotten() -> None:
    """Its place and its whole allowance are free again."""
    lobby = Lobby(HttpLimits(connections=1, connections_per_client=1))
    for client in ("a", "b", "a"):
        assert lobby.enter(client)
        lobby.leave(client)


def test_refusals_are_bounded_too() -> None:
    """Being told to come again takes a place as well, of as many."""
    lobby = Lobby(HttpLimits(connections=1))
    assert lobby.start_refusal()
    assert not lobby.start_refusal()
    lobby.end_refusal()
    assert lobby.start_refusal()
