"""storage.layer: writes of one client over an image that others share; the native layer and its plain twin alike."""

import os
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from errno import EINVAL, EIO, ENOSPC, ENXIO
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from storage.errors import StorageError
from storage.image import BytesImage, FileImage, Image
from storage.layer import LAYER_CLUSTER, LAYER_MAP_PAGE, LayerImage, map_bytes
from tests.storage.layers import (
    BASE,
    BASE_SIZE,
    CLUSTER,
    CLUSTERS,
    HEADER_START,
    LAYERS,
    MAP_START,
    SIZE,
    Layer,
    shared_base,
)

OVER_BASE = BASE.ljust(SIZE, b"\0")
Open = Callable[..., Layer]


@pytest.fixture(params=LAYERS, ids=["native", "twin"])
def kind(request: pytest.FixtureRequest) -> Callable[..., Layer]:
    """The layer that is tested."""
    made: Callable[..., Layer] = request.param
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An empty file with room for a map."""
    place = tmp_path / "layer"
    place.touch()
    os.truncate(place, HEADER_START)
    return place


@pytest.fixture
def over_base(kind: Callable[..., Layer], path: Path) -> Open:
    """Opens the layer over a base, as often as wanted."""
    return lambda **more: kind(FileImage(path, writable=True), size=SIZE, base=shared_base(), **more)


@pytest.fixture
def blank(kind: Callable[..., Layer], path: Path) -> Open:
    """Opens the layer over nothing."""
    return lambda **more: kind(FileImage(path, writable=True), size=SIZE, **more)


@pytest.fixture(params=[True, False], ids=["over_base", "blank"])
def either(request: pytest.FixtureRequest, over_base: Open, blank: Open) -> Open:
    """Opens one or the other."""
    return over_base if request.param else blank


def errno_of(action: Callable[[], object]) -> int:
    """The errno of the StorageError that an action must raise."""
    with pytest.raises(StorageError) as raised:
        action()
    return raised.value.errno


class TestReading:
    """Whose bytes they are."""

    def test_the_bases_at_first_then_zeros(self, over_base: Open) -> None:
        """Also where the base ends inside a cluster."""
        layer = over_base()
        assert layer.read_at(0, SIZE) == OVER_BASE
        assert layer.read_at(BASE_SIZE - 10, 20) == BASE[-10:] + bytes(10)

    def test_a_blank_ones_are_zeros(self, blank: Open) -> None:
        """All of them."""
        assert blank().read_at(0, SIZE) == bytes(SIZE)

    def test_nobody_elses(self, over_base: Open, tmp_path: Path, kind: Callable[..., Layer]) -> None:
        """The base, and a neighbour over the same, have none of what is written."""
        place = tmp_path / "neighbour"
        place.touch()
        os.truncate(place, HEADER_START)
        base = shared_base()
        neighbour = kind(FileImage(place, writable=True), size=SIZE, base=base)
        over_base().write_at(0, b"mine" * 3000)
        assert neighbour.read_at(0, SIZE) == OVER_BASE
        assert base.read_at(0, BASE_SIZE) == BASE

    def test_ranges_that_leave_it(self, either: Open) -> None:
        """ENXIO, and what follows in the file, such as the map, can't be reached."""
        layer = either()
        assert errno_of(lambda: layer.read_at(SIZE - 1, 2)) == ENXIO
        assert errno_of(lambda: layer.write_at(SIZE - 1, b"ab")) == ENXIO
        assert errno_of(lambda: layer.punch_at(SIZE, 1)) == ENXIO


class TestWriting:
    """Clusters become the layer's with their first write."""

    @pytest.mark.parametrize(
        ("offset", "length"),
        [
            (0, 1),
            (CLUSTER - 1, 2),
            (CLUSTER, CLUSTER),
            (100, 3 * CLUSTER),
            (5 * CLUSTER, 7 * CLUSTER),
            (BASE_SIZE - 5, 10),
            (SIZE - 1, 1),
            (0, SIZE),
        ],
    )
    def test_the_rest_of_a_cluster_stays_what_it_was(self, over_base: Open, offset: int, length: int) -> None:
        """However a write lies in it; and again once it is the layer's."""
        layer = over_base()
        expected = bytearray(OVER_BASE)
        for mark in (b"x", b"y"):
            layer.write_at(offset, mark * length)
            expected[offset : offset + length] = mark * length
            assert layer.read_at(0, SIZE) == expected

    def test_takes_room_by_the_cluster(self, either: Open) -> None:
        """And none before."""
        layer = either()
        assert layer.used == 0
        layer.write_at(CLUSTER - 1, b"ab")
        layer.write_at(CLUSTER, b"c")
        assert layer.used == 2 * CLUSTER

    def test_is_kept_once_synced(self, either: Open) -> None:
        """By whoever opens the file next, with the room that it takes."""
        layer = either()
        layer.write_at(3 * CLUSTER + 5, b"kept")
        layer.sync()
        again = either()
        assert again.read_at(0, SIZE) == layer.read_at(0, SIZE)
        assert again.used == CLUSTER

    def test_of_the_base_again_unless_synced(self, over_base: Open) -> None:
        """Whole clusters, never parts; and they take no room any more."""
        layer = over_base()
        layer.write_at(CLUSTER + 5, b"x")
        layer.sync()
        layer.write_at(8 * CLUSTER + 5, b"y")
        layer.write_at(CLUSTER + 6, b"z")
        again = over_base()
        assert (
            again.read_at(CLUSTER + 4, 4) == BASE[CLUSTER + 4 : CLUSTER + 5] + b"xz" + BASE[CLUSTER + 7 : CLUSTER + 8]
        )
        assert again.read_at(8 * CLUSTER, CLUSTER) == BASE[8 * CLUSTER : 9 * CLUSTER]
        assert again.used == CLUSTER

    def test_by_many_threads_into_the_same_clusters(self, either: Open) -> None:
        """Each its own bytes: no first write takes back what another wrote."""
        layer = either()
        pieces = list(range(0, 20 * CLUSTER, 512))
        random.Random(5).shuffle(pieces)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda at: layer.write_at(at, at.to_bytes(4, "big") * 128), pieces))
        if isinstance(layer, LayerImage):  # the twin is no test of threads
            found = layer.read_at(0, 20 * CLUSTER)
            assert found == b"".join(at.to_bytes(4, "big") * 128 for at in range(0, 20 * CLUSTER, 512))


class TestPunching:
    """Zeros that take no room."""

    @pytest.mark.parametrize(
        ("offset", "length", "freed"),
        [(0, SIZE, CLUSTERS), (5, 10, 0), (CLUSTER, CLUSTER, 1), (100, 3 * CLUSTER, 2), (SIZE - 5, 5, 0)],
    )
    def test_of_what_was_written(self, either: Open, offset: int, length: int, freed: int) -> None:
        """Whole clusters give their room back."""
        layer = either()
        layer.write_at(0, b"w" * SIZE)
        layer.punch_at(offset, length)
        assert layer.read_at(0, SIZE) == b"w" * offset + bytes(length) + b"w" * (SIZE - offset - length)
        assert layer.used == (CLUSTERS - freed) * CLUSTER

    @pytest.mark.parametrize(("offset", "length"), [(0, SIZE), (5, 10), (CLUSTER, CLUSTER), (100, 3 * CLUSTER)])
    def test_of_what_is_the_bases(self, over_base: Open, offset: int, length: int) -> None:
        """It is no longer seen, today and once the layer is opened anew."""
        layer = over_base()
        layer.punch_at(offset, length)
        layer.sync()
        for opened in (layer, over_base()):
            assert opened.read_at(0, SIZE) == OVER_BASE[:offset] + bytes(length) + OVER_BASE[offset + length :]

    def test_holes_are_told(self, either: Open) -> None:
        """In runs that cover the range."""
        layer = either()
        layer.write_at(CLUSTER, b"d" * CLUSTER)
        layer.punch_at(3 * CLUSTER, CLUSTER)
        told: list[bool] = []
        for length, is_hole in layer.extents(0, 4 * CLUSTER):
            told += [is_hole] * (length // CLUSTER)
        assert len(told) == 4
        assert (told[1], told[3]) == (False, True)


class TestQuota:
    """How much room a client may take."""

    def test_past_it_there_is_none(self, either: Open) -> None:
        """ENOSPC, nothing changed; what has its room can still be written."""
        layer = either(quota=2 * CLUSTER)
        layer.write_at(0, b"a" * 2 * CLUSTER)
        before = layer.read_at(0, SIZE)
        assert errno_of(lambda: layer.write_at(CLUSTER, b"b" * 2 * CLUSTER)) == ENOSPC
        assert layer.read_at(0, SIZE) == before
        layer.write_at(CLUSTER, b"c" * CLUSTER)
        assert layer.read_at(CLUSTER, CLUSTER) == b"c" * CLUSTER

    def test_punching_makes_room(self, either: Open) -> None:
        """Then more can be written elsewhere."""
        layer = either(quota=2 * CLUSTER)
        layer.write_at(0, b"a" * 2 * CLUSTER)
        layer.punch_at(0, CLUSTER)
        layer.write_at(9 * CLUSTER, b"b")
        assert layer.used == 2 * CLUSTER

    def test_holds_across_a_restart(self, either: Open) -> None:
        """What took room then takes it now, be it more than a smaller quota allows."""
        layer = either()
        layer.write_at(0, b"a" * 3 * CLUSTER)
        layer.sync()
        again = either(quota=CLUSTER)
        assert again.used == 3 * CLUSTER
        assert errno_of(lambda: again.write_at(8 * CLUSTER, b"b")) == ENOSPC
        again.write_at(0, b"c")

    def test_of_all_there_is_unless_told(self, either: Open) -> None:
        """Then the last byte can be written."""
        layer = either()
        layer.write_at(0, b"a" * SIZE)
        assert layer.used == layer.quota == CLUSTERS * CLUSTER


class TestFailing:
    """A store that fails, by having its descriptor made a pipe's."""

    def test_a_failed_flush_is_never_forgotten(self, kind: Callable[..., Layer], path: Path) -> None:
        """And brings no bit of the map to a disk that may lack the data."""
        store = FileImage(path, writable=True)
        layer = kind(store, size=SIZE, base=shared_base())
        layer.write_at(0, b"x")
        kept = os.dup(store.fileno())
        reader, writer = os.pipe()
        os.dup2(writer, store.fileno())
        assert errno_of(layer.sync) == EINVAL
        os.dup2(kept, store.fileno())
        for descriptor in (kept, reader, writer):
            os.close(descriptor)
        assert errno_of(layer.sync) in (EINVAL, EIO)
        assert path.read_bytes()[MAP_START:] == bytes(CLUSTER)

    def test_a_failed_copy_leaves_the_cluster_the_bases(
        self, kind: Callable[..., Layer], path: Path, tmp_path: Path
    ) -> None:
        """The base fails: the client is told, and nothing else changes."""
        short = tmp_path / "base"
        short.write_bytes(BASE)
        layer = kind(FileImage(path, writable=True), size=SIZE, base=FileImage(short))
        os.truncate(short, CLUSTER)
        assert errno_of(lambda: layer.write_at(2 * CLUSTER + 1, b"x")) == EIO
        short.write_bytes(BASE)
        assert layer.read_at(2 * CLUSTER, CLUSTER) == BASE[2 * CLUSTER : 3 * CLUSTER]


class TestNative:
    """What only the native layer has."""

    def test_facts(self, path: Path) -> None:
        """Writable, over its base, in its store."""
        base, store = shared_base(), FileImage(path, writable=True)
        layer = LayerImage(store, size=SIZE, base=base)
        assert (layer.base, layer.store, layer.writable, layer.size) == (base, store, True, SIZE)
        assert (LAYER_CLUSTER, LAYER_MAP_PAGE, map_bytes(SIZE)) == (CLUSTER, CLUSTER, CLUSTER)

    def test_stores_that_would_not_do(self, path: Path) -> None:
        """Read-only, too small for the bytes or for the map; and no layer is empty."""
        store = FileImage(path, writable=True)
        wrong: list[Callable[[], LayerImage]] = [
            lambda: LayerImage(FileImage(path), size=SIZE),
            lambda: LayerImage(store, size=0),
            lambda: LayerImage(store, size=HEADER_START + 1),
            lambda: LayerImage(store, size=HEADER_START, base=shared_base()),
        ]
        for make in wrong:
            with pytest.raises(ValueError):
                make()

    def test_places(self, path: Path, tmp_path: Path) -> None:
        """Where bytes lie in one file they are sent from it; a mix of two is nowhere."""
        place = tmp_path / "base"
        place.write_bytes(BASE)
        base, store = FileImage(place), FileImage(path, writable=True)
        layer = LayerImage(store, size=SIZE, base=base)
        layer.write_at(CLUSTER, b"o" * CLUSTER)
        assert layer.place_at(CLUSTER + 5, 100) == (store.fileno(), CLUSTER + 5)
        assert layer.place_at(2 * CLUSTER, 100) == (base.fileno(), 2 * CLUSTER)
        assert layer.place_at(2 * CLUSTER - 1, 2) is None
        assert layer.place_at(BASE_SIZE - 1, 2) is None

    def test_reads_from_memory(self, path: Path) -> None:
        """Of both, what is there already."""
        layer = LayerImage(FileImage(path, writable=True), size=SIZE, base=shared_base())
        layer.write_at(CLUSTER, b"o" * CLUSTER)
        assert layer.read_at_now(CLUSTER - 3, 6) == BASE[CLUSTER - 3 : CLUSTER] + b"ooo"

    def test_bits_of_no_cluster_are_nothing(self, path: Path) -> None:
        """A map from a spoilt file."""
        with path.open("r+b") as file:
            file.seek(MAP_START)
            file.write(b"\xff" * CLUSTER)
        layer = LayerImage(FileImage(path, writable=True), size=SIZE, base=shared_base())
        assert layer.read_at(0, SIZE) == bytes(SIZE)
        layer.write_at(SIZE - 1, b"x")
        layer.sync()

    def test_a_map_of_several_pages(self, tmp_path: Path) -> None:
        """Only those with new bits are written, each in its place."""
        size = (3 << 27) + 5
        base: Image = BytesImage(b"b" * 10)
        place = tmp_path / "layer"
        place.touch()
        os.truncate(place, -(-size // CLUSTER) * CLUSTER + map_bytes(size))
        layer = LayerImage(FileImage(place, writable=True), size=size, base=base)
        layer.write_at(size - 1, b"z")
        layer.write_at(1 << 27, b"y")
        layer.sync()
        again = LayerImage(FileImage(place, writable=True), size=size, base=base)
        assert (again.read_at(0, 2), again.read_at(1 << 27, 2), again.read_at(size - 2, 2)) == (b"bb", b"y\0", b"\0z")
        assert again.used == 2 * CLUSTER


class Usage(RuleBasedStateMachine):
    """A client at work, an appliance that is killed at any moment, and what each byte must be then."""

    base: Image | None = shared_base()

    def __init__(self) -> None:
        super().__init__()
        descriptor = os.memfd_create("layer")
        os.ftruncate(descriptor, HEADER_START)
        self.path = f"/proc/self/fd/{descriptor}"
        self.descriptor = descriptor
        self.start = bytes(SIZE) if self.base is None else OVER_BASE
        self.content = bytearray(self.start)
        self.touched: set[int] = set()
        self.kept: set[int] = set()
        self.reopen()

    def reopen(self) -> None:
        """As a new process finds it."""
        self.layer = LayerImage(FileImage(self.path, writable=True), size=SIZE, base=self.base)

    def touch(self, offset: int, length: int) -> None:
        """Clusters that are no longer the base's."""
        if length:
            self.touched |= set(range(offset // CLUSTER, (offset + length - 1) // CLUSTER + 1))

    @rule(offset=st.integers(0, SIZE - 1), length=st.integers(0, 3 * CLUSTER), mark=st.integers(1, 255))
    def write(self, offset: int, length: int, mark: int) -> None:
        """Anywhere."""
        data = bytes([mark]) * min(length, SIZE - offset)
        self.layer.write_at(offset, data)
        self.content[offset : offset + len(data)] = data
        self.touch(offset, len(data))

    @rule(offset=st.integers(0, SIZE - 1), length=st.integers(0, SIZE))
    def punch(self, offset: int, length: int) -> None:
        """Anywhere."""
        length = min(length, SIZE - offset)
        self.layer.punch_at(offset, length)
        self.content[offset : offset + length] = bytes(length)
        self.touch(offset, length)

    @rule()
    def sync(self) -> None:
        """From now on it is kept."""
        self.layer.sync()
        self.kept = set(self.touched)

    @rule()
    def be_killed(self) -> None:
        """What was first written since the last flush is the base's again; of a blank layer nothing is."""
        for number in self.touched - self.kept if self.base is not None else ():
            start, end = number * CLUSTER, min(SIZE, (number + 1) * CLUSTER)
            self.content[start:end] = self.start[start:end]
        self.touched = set(self.kept) if self.base is not None else self.touched
        self.reopen()

    @precondition(lambda self: self.base is None)
    @invariant()
    def takes_no_more_than_was_touched(self) -> None:
        """The room."""
        assert self.layer.used <= len(self.touched) * CLUSTER

    @invariant()
    def reads_as_it_must(self) -> None:
        """Every byte."""
        assert self.layer.read_at(0, SIZE) == self.content

    def teardown(self) -> None:
        """The file goes with its descriptor."""
        del self.layer
        os.close(self.descriptor)


class BlankUsage(Usage):
    """Over nothing."""

    base = None


TestUsage = Usage.TestCase
TestBlankUsage = BlankUsage.TestCase
TestUsage.settings = TestBlankUsage.settings = settings(max_examples=40, stateful_step_count=20)
