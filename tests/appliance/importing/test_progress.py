"""The bar: not there for what is quick, and for what takes long it says what, how much, and of how much if known."""

import pytest

from appliance.importing import progress
from appliance.importing.progress import Bar


def test_what_is_quick_has_none(capsys: pytest.CaptureFixture[str]) -> None:
    """Its output is what scripts and people read."""
    with Bar() as bar:
        bar.step("edge", 1000)
        bar.advance(1000)
    assert capsys.readouterr() == ("", "")


def test_steps_follow_each_other(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """One without a known end is not measured by that of the step before."""
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.0)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Bar() as bar:
        bar.step("edge.xz", 4_000_000)
        bar.advance(1_000_000)
        bar.step("verifying edge.xz", None)
        bar.advance(3_000_000)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "edge.xz" in shown.err
    assert "3.0/?" in shown.err.replace("\x1b[32m", "").replace("\x1b[0m", "")
