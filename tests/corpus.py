"""What a fuzzer starts from, kept in the repository as one archive."""

import zipfile
from pathlib import Path


def keep(folder: Path, corpus: Path) -> None:
    """Pack every file of a folder, so that the same files make the same bytes."""
    with zipfile.ZipFile(corpus, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed:
        for path in sorted(folder.iterdir()):
            packed.writestr(zipfile.ZipInfo(path.name), path.read_bytes(), zipfile.ZIP_DEFLATED)


def read_kept(corpus: Path) -> list[bytes]:
    """Every file of an archive."""
    with zipfile.ZipFile(corpus) as packed:
        return [packed.read(name) for name in packed.namelist()]
