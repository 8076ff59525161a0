"""The images that boot by themselves: what of one a lab's boot server is given."""

from pathlib import Path

from deploy.demo.images import ImageTree
from deploy.lab.lab import link_tree


def test_a_lab_is_given_the_image_alone(tmp_path: Path) -> None:
    """Nothing else of its folder: no kernel, no initrd, not what it was made from."""
    tree = ImageTree(tmp_path / "kiwi", "debian-kiwi.x86_64-12")
    tree.image.parent.mkdir(parents=True)
    tree.image.write_bytes(b"hsqs")
    (tree.root / "other").touch()
    link_tree(tree, tmp_path / "lab")
    files = [path.relative_to(tmp_path / "lab") for path in (tmp_path / "lab").rglob("*") if path.is_file()]
    assert files == [Path("image/debian-kiwi.x86_64-12")]
