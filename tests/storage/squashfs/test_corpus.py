"""The fuzzer's corpus by the plain build: what reached each branch of the reader, and what once went wrong."""

import zipfile

from tests.storage.squashfs.exercise import exercise
from tests.storage.squashfs.fuzz import CORPUS


def test_corpus() -> None:
    """Some of it is whole images, all of it is read as far as it can be."""
    with zipfile.ZipFile(CORPUS) as packed:
        good = [exercise(packed.read(name)) for name in packed.namelist()]
    assert len(good) > 100
    assert max(good) > 8
