"""Images that several test modules read: made once a session by mksquashfs."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.storage.squashfs.trees import Tool, make_image, make_tree

BLOCK = 4096


@pytest.fixture(scope="session")
def tree_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """A function that gives the tree for a block size."""
    made: dict[int, Path] = {}

    def tree(block_size: int) -> Path:
        if block_size not in made:
            made[block_size] = make_tree(tmp_path_factory.mktemp("trees") / str(block_size), block_size)
        return made[block_size]

    return tree


@pytest.fixture(scope="session")
def image_path(tool: Tool, tree_of: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree in blocks of 4 KiB, by gzip."""
    return make_image(tool, tree_of(BLOCK), tmp_path_factory.mktemp("image") / "gzip", "-b", str(BLOCK))
