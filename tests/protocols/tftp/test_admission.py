"""How many are served at once."""

from protocols.tftp.admission import Admission


def test_bounds() -> None:
    """In all, and for each address; those who leave make room."""
    admission = Admission(most=3, most_per_client=2)
    admission.enter(("a", 1))
    admission.enter(("a", 2))
    assert not admission.has_room("a")
    assert admission.has_room("b")
    admission.enter(("b", 1))
    assert not admission.has_room("c")
    admission.leave(("a", 1))
    assert admission.has_room("a")
    assert admission.has_room("c")


def test_it_knows_whom_it_holds() -> None:
    """By address and port."""
    admission = Admission(most=3, most_per_client=2)
    admission.enter(("a", 1))
    assert admission.holds(("a", 1))
    assert not admission.holds(("a", 2))
    admission.leave(("a", 1))
    assert not admission.holds(("a", 1))
    assert len(admission) == 0
