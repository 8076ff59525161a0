"""The kernel's command line, taken apart as data."""

from pathlib import Path

import pytest

from tests.appliance.initrd.conftest import Shell

PRINT = (
    'parse_cmdline "$1"; printf "%s|" "$kiwiserver" "$kiwiservertype" "$ip_server" "$bootif" "$init" "$root_access"'
    ' "$debug" "$panic" "$cmdline_nbdroot" "$cmdline_aoeroot" "$poll_seconds"'
    ' "$cmdline_nfsroot" "$extra_path" "$config_ramonly" "$always_swap"'
)
DEFAULTS = ["", "tftp", "", "", "", "", "", "30", "", "", "60", "", "boot/initrd.extra", "", ""]
NAMES = [
    "kiwiserver",
    "kiwiservertype",
    "ip_server",
    "bootif",
    "init",
    "root_access",
    "debug",
    "panic",
    "nbd",
    "aoe",
    "poll",
    "nfs",
    "extra",
    "ramonly",
    "swap",
]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", {}),
        ("quiet console=ttyS0,115200 root=/dev/sda1", {}),
        ("kiwiserver=10.0.0.1 kiwiservertype=http", {"kiwiserver": "10.0.0.1", "kiwiservertype": "http"}),
        ("ip=10.0.0.9:10.0.0.2:10.0.0.1:255.0.0.0", {"ip_server": "10.0.0.2"}),
        ("ip=dhcp", {}),
        ("ip=eth0:dhcp", {}),
        ("ip=10.0.0.9:0.0.0.0:10.0.0.1:255.0.0.0", {}),
        ("BOOTIF=01-52-54-00-77-00-0A", {"bootif": "01-52-54-00-77-00-0A"}),
        ("init=/bin/bash rw", {"init": "/bin/bash", "root_access": "rw"}),
        ("panic=5 rootwire.debug", {"panic": "5", "debug": "1"}),
        ("NBDROOT=a;b AOEROOT=/dev/etherd/e0.1", {"nbd": "a;b", "aoe": "/dev/etherd/e0.1"}),
        ("NFSROOT=a;/b kiwi_ramonly=yes", {"nfs": "a;/b", "ramonly": "yes"}),
        ("rootwire.extra=/other/extra", {"extra": "other/extra"}),
        ("rootwire.extra=../extra", {}),
        ("rootwire.poll=2", {"poll": "2"}),
        ("rootwire.swap", {"swap": "1"}),
        ("rootwire.poll=$(reboot)", {}),
        ("panic=-1", {"panic": "-1"}),
        ("panic=08", {}),
        ("panic=$(reboot)", {}),
        ('kiwiserver="10.0.0.1"', {"kiwiserver": "10.0.0.1"}),
        ('note="a kiwiserver=6.6.6.6 b" kiwiserver=10.0.0.1', {"kiwiserver": "10.0.0.1"}),
        ("kiwiserver=10.0.0.1 -- kiwiserver=6.6.6.6", {"kiwiserver": "10.0.0.1"}),
        ("kiwiserver=$(touch${IFS}x)", {"kiwiserver": "$(touch${IFS}x)"}),
        ("kiwiserver=`touch` init=* *", {"kiwiserver": "`touch`", "init": "*"}),
    ],
)
def test_words_that_are_ours_are_taken(shell: Shell, tmp_path: Path, words: str, expected: dict[str, str]) -> None:
    """Ours are remembered as text, others left alone; nothing is expanded or run."""
    (tmp_path / "cmdline").write_text(f"{words}\n")
    (tmp_path / "work/a-file").touch()
    done = shell(PRINT, tmp_path / "cmdline")
    assert done.stderr == b""
    values = dict(zip(NAMES, done.stdout.decode().split("|"), strict=False))
    assert values == dict(zip(NAMES, DEFAULTS, strict=True)) | expected
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["a-file"]


def test_a_line_without_newline_counts(shell: Shell, tmp_path: Path) -> None:
    """A kernel or a test may leave the newline off."""
    (tmp_path / "cmdline").write_text("kiwiserver=10.0.0.1")
    assert shell('parse_cmdline "$1"; printf %s "$kiwiserver"', tmp_path / "cmdline").stdout == b"10.0.0.1"
