"""An ISO that UEFI boots by itself, Secure Boot or not: Debian's shim and GRUB, a kernel, and an initramfs.

/efi.img            a FAT file system with shim and GRUB, which firmware finds by the El Torito boot record
/.disk/info         by which Debian's GRUB for media finds the ISO
/boot/grub/grub.cfg what to load: linux and initrd, which are beside it
"""

import subprocess
import tempfile
from pathlib import Path

from appliance.offers.loaders import GRUB, SHIM, SYSTEM

LOADERS = {
    "BOOTX64.EFI": SYSTEM / SHIM / "shimx64.efi.signed",
    "grubx64.efi": SYSTEM / GRUB / "x86_64-efi-signed/gcdx64.efi.signed",
}
FAT_SECTORS = (8 << 20) // 512  # both loaders, and some room


def build_iso(path: Path, kernel: Path, initrd: bytes, append: str) -> None:
    """Make the ISO `path`, which boots `kernel` with `initrd` and the command line `append`."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        top = Path(folder)
        (top / ".disk").mkdir()
        (top / ".disk/info").write_text("rootwire's demo\n")
        (top / "boot/grub").mkdir(parents=True)
        (top / "boot/grub/linux").write_bytes(kernel.read_bytes())
        (top / "boot/grub/initrd").write_bytes(initrd)
        config = f"linux $prefix/linux {append}\ninitrd $prefix/initrd\nboot\n"
        (top / "boot/grub/grub.cfg").write_text(config)
        _make_fat(top / "efi.img")
        words: list[Path | str] = ["-quiet", "-o", path, "-R", "-e", "efi.img", "-no-emul-boot", top]
        subprocess.run(["xorriso", "-as", "mkisofs", *map(str, words)], check=True, capture_output=True)


def _make_fat(path: Path) -> None:
    subprocess.run(["mformat", "-i", path, "-C", "-T", str(FAT_SECTORS), "::"], check=True, capture_output=True)
    subprocess.run(["mmd", "-i", path, "::EFI", "::EFI/BOOT"], check=True, capture_output=True)
    for name, source in LOADERS.items():
        subprocess.run(["mcopy", "-i", path, source, f"::EFI/BOOT/{name}"], check=True, capture_output=True)
