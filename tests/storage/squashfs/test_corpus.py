"""The fuzzer's corpus by the plain build: what reached each branch of the reader, and what once went wrong."""

from tests.corpus import read_kept
from tests.storage.squashfs.exercise import exercise
from tests.storage.squashfs.fuzz import CORPUS


def test_corpus() -> None:
    """Some of it is whole images, all of it is read as far as it can be."""
    good = [exercise(data) for data in read_kept(CORPUS)]
    assert len(good) > 100
    assert max(good) > 8
