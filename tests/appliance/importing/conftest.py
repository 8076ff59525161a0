"""Boot trees to import into, and the command as an operator runs it."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from appliance.importing.command import ImportReport, import_files

Import = Callable[..., ImportReport]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An empty boot tree."""
    root = tmp_path / "srv"
    root.mkdir()
    return root


@pytest.fixture
def run_import(tree: Path) -> Import:
    """run_import(path, ..., name=, over=, force=): what `rootwire import --json` prints."""

    def run(*paths: Path, **given: Any) -> ImportReport:
        out = io.StringIO()
        options = {"name": None, "over": None, "force": False, **given}
        import_files(paths, tree, out, as_json=True, **options)
        report: ImportReport = json.loads(out.getvalue())
        return report

    return run
