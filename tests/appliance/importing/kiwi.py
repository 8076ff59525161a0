"""Sets as KIWI's versions build them, as far as their names, checksums and the beginnings of their files go."""

import gzip
import hashlib
import io
import lzma
import tarfile
from collections.abc import Mapping

from appliance.kiwi.sums import checksum_line
from tests.appliance.deployment.archives import KIWI_OVERLAY, LOCAL, archive, kernel

NAME = "edge.x86_64-1.2.0"
DISK_NAME = "desk.x86_64-3.0.1"
KERNEL = kernel()
INITRD = lzma.compress(archive(KIWI_OVERLAY))
SYSTEM_INITRD = lzma.compress(archive(LOCAL))
SQUASHFS = b"hsqs" + bytes(36) + (8192).to_bytes(8, "little") + bytes(range(256)) * 32
IMAGE = SQUASHFS[:8192]
DISK = bytes(510) + b"\x55\xaa" + b"a disk" * 10_000

Files = Mapping[str, bytes]


def md5_line(content: bytes, packed: bytes | None = None) -> bytes:
    """What KIWI writes into NAME.md5."""
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return checksum_line(digest, len(content), None if packed is None else len(packed))


def sha256_line(content: bytes, packed: bytes | None = None) -> bytes:
    """What KIWI writes into NAME.sha256."""
    return checksum_line(hashlib.sha256(content).hexdigest(), len(content), None if packed is None else len(packed))


def sha512_line(content: bytes) -> bytes:
    """What KIWI writes into NAME.sha512."""
    return checksum_line(hashlib.sha512(content).hexdigest(), len(content))


PACKED = lzma.compress(IMAGE)
# The names of every version (the contract's sections 1.6 and 4.1).
ROOT_SETS: dict[str, Files] = {
    "kis 10": {
        NAME: IMAGE,
        f"{NAME}.sha256": sha256_line(IMAGE),
        f"{NAME}.initrd": INITRD,
        f"{NAME}-6.1.0-42-amd64.kernel": KERNEL,
        f"{NAME}.append": b"root=UUID=1234 console=ttyS0 quiet",
    },
    "kis 10 with sha512": {
        NAME: IMAGE,
        f"{NAME}.sha512": sha512_line(IMAGE),
        f"{NAME}.initrd": INITRD,
        f"{NAME}-6.1.0-42-amd64.kernel": KERNEL,
    },
    "kis 9.20, xz": {
        f"{NAME}.xz": PACKED,
        f"{NAME}.md5": md5_line(IMAGE, PACKED),
        f"{NAME}.initrd": INITRD,
        f"{NAME}-6.1.0-42-amd64.kernel": KERNEL,
    },
    "pxe 9.4.1 to 9.16.2, xz": {
        f"{NAME}.xz": PACKED,
        f"{NAME}.xz.md5": md5_line(IMAGE, PACKED),
        f"{NAME}.initrd.xz": INITRD,
        f"{NAME}-6.1.0-42-amd64.kernel": KERNEL,
    },
    "pxe 8 to 9.4.0": {
        f"{NAME}.squashfs": IMAGE,
        f"{NAME}.squashfs.md5": md5_line(IMAGE),
        f"{NAME}.initrd.xz": INITRD,
        f"{NAME}-6.1.0-42-amd64.kernel": KERNEL,
    },
    "pxe 8, xz": {
        f"{NAME}.squashfs.xz": PACKED,
        f"{NAME}.squashfs.xz.md5": md5_line(IMAGE, PACKED),
        f"{NAME}.initrd.xz": INITRD,
        f"{NAME}-6.1.0-42-amd64.kernel": KERNEL,
    },
    "pxe 7": {
        f"{NAME}.gz": gzip.compress(IMAGE),
        f"{NAME}.md5": md5_line(IMAGE, gzip.compress(IMAGE)),
        f"{NAME}.config": b"DISK=/dev/sda\n",
        "initrd-netboot-suse-13.1.x86_64-2.1.1.gz": gzip.compress(archive(LOCAL)),
        "initrd-netboot-suse-13.1.x86_64-2.1.1.splash.gz": gzip.compress(archive(KIWI_OVERLAY)),
        "initrd-netboot-suse-13.1.x86_64-2.1.1.kernel": KERNEL,
        "initrd-netboot-suse-13.1.x86_64-2.1.1.kernel.6.1.0-42-amd64": KERNEL,
    },
}

PACKED_DISK = lzma.compress(DISK)
_INSTALLER = {f"pxeboot.{DISK_NAME}.kernel": KERNEL, f"pxeboot.{DISK_NAME}.initrd": INITRD}
_APPEND = b"rd.kiwi.install.pxe rd.kiwi.install.image=http://example.com/image.xz console=ttyS0\n"
# The contract's section 4.4, and what kiwi's builder wrote before.
INSTALL_SETS: dict[str, Files] = {
    "10": {
        **_INSTALLER,
        f"{DISK_NAME}.initrd": SYSTEM_INITRD,
        f"{DISK_NAME}.xz": PACKED_DISK,
        f"{DISK_NAME}.sha256": sha256_line(DISK),
        f"{DISK_NAME}.config.bootoptions": b"console=ttyS0\n",
        f"{DISK_NAME}.append": _APPEND,
    },
    "9.20": {
        f"pxeboot.{DISK_NAME}.kernel": KERNEL,
        f"pxeboot.{DISK_NAME}.initrd.xz": INITRD,
        f"{DISK_NAME}.initrd": SYSTEM_INITRD,
        f"{DISK_NAME}.xz": PACKED_DISK,
        f"{DISK_NAME}.md5": md5_line(DISK),
        f"pxeboot.{DISK_NAME}.config.bootoptions": b"console=ttyS0\n",
        f"{DISK_NAME}.append": _APPEND,
    },
    "9.12": {
        "pxeboot.kernel": KERNEL,
        "pxeboot.initrd.xz": INITRD,
        f"{DISK_NAME}.initrd": SYSTEM_INITRD,
        f"{DISK_NAME}.xz": PACKED_DISK,
        f"{DISK_NAME}.md5": md5_line(DISK),
        f"{DISK_NAME}.append": _APPEND,
    },
}


def tarball(files: Files, *, mode: str = "w", links: Mapping[str, str] | None = None, prefix: str = "") -> bytes:
    """A tar archive; `mode` is that of tarfile, "w:xz" and the like."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]  # the mode is any of several
        for name, content in files.items():
            member = tarfile.TarInfo(f"{prefix}{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(f"{prefix}{name}")
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return out.getvalue()
