"""storage.lease: the newest user of an image is its only one; the native lease and its plain twin alike."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from errno import ESTALE
from pathlib import Path
from typing import Protocol

import pytest
from typing_extensions import Buffer

from storage.errors import StorageError
from storage.image import FileImage, Image
from storage.lease import LeaseImage, Tenure
from tests.storage.gate import Gate, gated_file

SIZE = 8192


class Lease(Protocol):
    """What both are."""

    @property
    def is_over(self) -> bool: ...
    def read_at(self, offset: int, length: int) -> bytes: ...
    def write_at(self, offset: int, data: Buffer) -> None: ...
    def punch_at(self, offset: int, length: int) -> bool: ...
    def sync(self) -> None: ...


class TwinTenure:
    """A number, and what has a lower one is over."""

    def __init__(self, image: Image) -> None:
        self.image, self.holder, self.given = image, 0, 0

    def lease(self) -> "TwinLease":
        """The next number."""
        self.given += 1
        return TwinLease(self, self.given)


class TwinLease:
    """The image, asked for each time."""

    def __init__(self, tenure: TwinTenure, number: int) -> None:
        self._tenure, self._number = tenure, number

    @property
    def is_over(self) -> bool:
        """Whether a higher number was used."""
        return self._tenure.holder > self._number

    def _image(self) -> Image:
        if self.is_over:
            raise StorageError("the lease is over", ESTALE)
        self._tenure.holder = self._number
        return self._tenure.image

    def read_at(self, offset: int, length: int) -> bytes:
        """The image's."""
        return self._image().read_at(offset, length)

    def write_at(self, offset: int, data: Buffer) -> None:
        """The image's."""
        self._image().write_at(offset, data)

    def punch_at(self, offset: int, length: int) -> bool:
        """The image's."""
        return self._image().punch_at(offset, length)

    def sync(self) -> None:
        """The image's."""
        self._image().sync()


Give = Callable[[], Lease]


@pytest.fixture
def image(tmp_path: Path) -> FileImage:
    """Zeros."""
    place = tmp_path / "image"
    place.touch()
    os.truncate(place, SIZE)
    return FileImage(place, writable=True)


@pytest.fixture(params=[Tenure, TwinTenure], ids=["native", "twin"])
def give(request: pytest.FixtureRequest, image: FileImage) -> Give:
    """Gives leases of the image."""
    made: Give = request.param(image).lease
    return made


ACTIONS: list[Callable[[Lease], object]] = [
    lambda lease: lease.read_at(0, 5),
    lambda lease: lease.write_at(0, b"x"),
    lambda lease: lease.punch_at(0, 5),
    lambda lease: lease.sync(),
]


@pytest.mark.parametrize("action", ACTIONS, ids=["read", "write", "punch", "sync"])
def test_the_newer_ends_the_older(give: Give, action: Callable[[Lease], object]) -> None:
    """With whatever it does first, and whatever the older would do."""
    older, newer = give(), give()
    older.write_at(0, b"older")
    action(newer)
    assert (older.is_over, newer.is_over) == (True, False)
    for attempt in ACTIONS:
        with pytest.raises(StorageError) as raised:
            attempt(older)
        assert raised.value.errno == ESTALE
    newer.write_at(0, b"newer")
    assert newer.read_at(0, 5) == b"newer"


def test_one_that_does_nothing_ends_nothing(give: Give) -> None:
    """Who only asks what there is."""
    user = give()
    user.write_at(0, b"user")
    give()
    assert user.read_at(0, 4) == b"user"


def test_an_older_one_never_comes_back(give: Give) -> None:
    """Even if it was never used before."""
    older, newer = give(), give()
    newer.sync()
    with pytest.raises(StorageError):
        older.read_at(0, 1)


class TestNative:
    """What only the native lease has."""

    def test_facts(self, image: FileImage) -> None:
        """As the image's; there is no other way to one."""
        tenure = Tenure(image)
        lease = tenure.lease()
        assert (lease.size, lease.writable, lease.tenure, tenure.image) == (SIZE, True, tenure, image)
        assert lease.extents(0, SIZE) == image.extents(0, SIZE)
        with pytest.raises(TypeError):
            LeaseImage()

    def test_what_may_not_wait_takes_nothing_over(self, image: FileImage) -> None:
        """It asks to be called where it may; nor is a place given away."""
        tenure = Tenure(image)
        lease = tenure.lease()
        assert lease.read_at_now(0, 5) is None
        lease.sync()
        assert lease.read_at_now(0, 5) == bytes(5)
        assert lease.place_at(0, 5) is None

    @pytest.fixture
    def gate(self, tmp_path: Path) -> Iterator[Gate]:
        """A file whose writes take as long as the test likes."""
        with gated_file(tmp_path / "gate", SIZE) as gate:
            yield gate

    @pytest.mark.root
    def test_waits_for_what_is_under_way(self, gate: Gate) -> None:
        """A write that the older one began is over before the newer one's first."""
        tenure = Tenure(FileImage(gate.path, writable=True))
        older, newer = tenure.lease(), tenure.lease()
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(older.write_at, 0, b"older")
            gate.wait()
            second = pool.submit(newer.write_at, 0, b"newer")
            assert not older.is_over
            assert not second.done()
            gate.open()
            first.result()
            second.result()
        assert older.is_over
