"""The bounds on connections."""

from protocols.nbd.admission import Admission
from protocols.nbd.limits import NbdLimits


def test_the_total_is_bounded() -> None:
    """A third of two is turned away, and let in once one has left."""
    door = Admission(NbdLimits(connections=2))
    assert [door.admit("10.0.0.1"), door.admit("10.0.0.2"), door.admit("10.0.0.3")] == [True, True, False]
    door.release("10.0.0.1")
    assert door.admit("10.0.0.3")


def test_one_client_can_not_take_every_place() -> None:
    """The bound per address holds while others still get in."""
    door = Admission(NbdLimits(connections=9, connections_per_client=1))
    assert [door.admit("10.0.0.1"), door.admit("10.0.0.1"), door.admit("10.0.0.2")] == [True, False, True]


def test_a_client_that_left_gets_its_places_back() -> None:
    """Counts go down one at a time."""
    door = Admission(NbdLimits(connections_per_client=2))
    assert [door.admit("10.0.0.1"), door.admit("10.0.0.1")] == [True, True]
    door.release("10.0.0.1")
    assert [door.admit("10.0.0.1"), door.admit("10.0.0.1")] == [True, False]
    door.release("10.0.0.1")
    door.release("10.0.0.1")
    assert door.admit("10.0.0.1")
