"""Runs parts of the client's shell code under busybox, with its state set up but nothing started."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import appliance.initrd
from tests.appliance.initrd.stubs import STUBS, Stub

CLIENT = Path(appliance.initrd.__file__).parent / "client"
LIBRARIES = sorted(path.name for path in CLIENT.glob("*.sh") if path.name not in {"init.sh", "lease.sh", "console.sh"})

Shell = Callable[..., subprocess.CompletedProcess[bytes]]


@pytest.fixture
def shell(tool: Callable[[str], str], tmp_path: Path) -> Shell:
    """shell(script, *arguments): runs the script after the client's libraries, in the empty folder tmp_path/work."""
    run_folder, work_folder = tmp_path / "run", tmp_path / "work"
    run_folder.mkdir()
    work_folder.mkdir()
    sources = "".join(f". {CLIENT}/{name}\n" for name in ["console.sh", *LIBRARIES])
    # A failure ends the script instead of rebooting the machine the test runs on.
    prelude = f'set -u\nRUN={run_folder}\n{sources}fail() {{ say "FAILED: $*"; exit 9; }}\nreboot() {{ exit 99; }}\n'

    def run(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [tool("busybox"), "sh", "-c", prelude + script, "client", *arguments],
            cwd=work_folder,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            timeout=60,
            check=False,
        )

    return run


MAC = "52:54:00:A1:B2:C3"
ADDRESS = "10.11.0.57"
FIND = 'find_config "$1" "$2"; status=$?; printf "%s %s" $status "$config_name"'


@pytest.fixture(params=["http", "tftp"])
def look_up(request: pytest.FixtureRequest, shell: Shell) -> Callable[..., tuple[Stub, str, str]]:
    """look_up(files): run find_config against a server with these files; the stub, the outcome, what was said."""
    kind: str = request.param

    def run(files: dict[str, bytes]) -> tuple[Stub, str, str]:
        served = {f"/{name.replace(':', '%3a')}" if kind == "http" else name: data for name, data in files.items()}
        with STUBS[kind](Stub(served)) as stub:
            setup = f"server=127.0.0.1:{stub.port}; kiwiservertype={kind}; from={kind}://test\n"
            done = shell(setup + FIND, MAC, ADDRESS)
        said, _, outcome = done.stdout.decode().rpartition("\n")
        stub.asked = [name.lstrip("/").replace("%3a", ":") for name in stub.asked]
        return stub, outcome, said

    return run


# A module as far as depmod, modinfo and the ELF reader care: an object file with a .modinfo section.
MODULE_SOURCE = """
__asm__(".section .modinfo, \\"a\\"\\n.asciz \\"firmware=acme/card.bin\\"\\n.asciz \\"alias=%s\\"\\n.text\\n");
"""


@pytest.fixture
def kernel_folder(tool: Callable[[str], str], tmp_path: Path) -> Path:
    """A folder with lib/modules/6.1.0-test that has the required modules, two network cards, and their firmware."""
    root = tmp_path / "kernel"
    folder = root / "lib/modules/6.1.0-test"
    names = (
        "nbd",
        "aoe",
        "squashfs",
        "overlay",
        "virtio_net",
        "net-failover",
        "r8169",
        "realtek",
        "crc32c-intel",
        "sound",
        "ahci",
    )
    for name in names:
        path = folder / f"kernel/{name}.ko"
        path.parent.mkdir(parents=True, exist_ok=True)
        source = tmp_path / "module.c"
        source.write_text(MODULE_SOURCE % f"test:{name}")
        subprocess.run([tool("gcc"), "-c", "-o", path, source], check=True)
    (folder / "modules.builtin").write_text("kernel/drivers/block/loop.ko\n")
    (folder / "modules.dep").write_text(
        "".join(f"kernel/{name}.ko:{' kernel/net-failover.ko' if name == 'virtio_net' else ''}\n" for name in names)
    )
    (folder / "modules.softdep").write_text(
        "# made by hand\nsoftdep r8169 pre: realtek\nsoftdep squashfs pre: crc32c\n"
    )
    (folder / "modules.alias").write_text("alias pci:v*d* r8169\nalias crc32c crc32c_intel\n")
    firmware = root / "lib/firmware/acme/card.bin"
    firmware.parent.mkdir(parents=True)
    firmware.write_bytes(b"firmware")
    return root
