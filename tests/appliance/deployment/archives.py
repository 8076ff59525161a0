"""Initramfs archives of every kind, as far as what tells them apart goes; and kernels, as far as their header goes."""

import bz2
import gzip
import lzma
import struct
from collections.abc import Callable, Mapping

import lz4.block
import zstandard

from appliance.initrd import cpio

VERSION = "6.1.0-42-amd64"
NBD_MODULE = f"usr/lib/modules/{VERSION}/kernel/drivers/block/nbd.ko"
AOE_MODULE = f"usr/lib/modules/{VERSION}/kernel/drivers/block/aoe/aoe.ko.xz"

KIWI_OVERLAY = {
    "usr/lib/dracut/modules.txt": b"bash\nnetwork\nkiwi-overlay\n",
    "usr/sbin/nbd-client": b"\x7fELF",
    NBD_MODULE: b"",
    AOE_MODULE: b"",
}
LIVENET = {"lib/dracut/modules.txt": b"base\nlivenet\n", f"lib/modules/{VERSION}/modules.builtin": b""}
DRACUT_NBD = {"usr/lib/dracut/modules.txt": b"base\nnbd\n", "usr/sbin/nbd-client": b"", NBD_MODULE: b""}
LIVE_BOOT = {"scripts/live": b"", "usr/lib/live/boot/9990-main.sh": b"", f"usr/lib/modules/{VERSION}/modules.dep": b""}
NBD_CLIENT = {
    "scripts/local-top/nbd": b"",
    "sbin/nbd-client": b"",
    f"lib/modules/{VERSION}/modules.builtin": b"kernel/drivers/block/nbd.ko\n",
}
OWN = {"init": b"#!/bin/busybox sh\n", "lib/rootwire/nbd.sh": b"", f"lib/modules/{VERSION}/modules.dep": b""}
KIWI_NETBOOT = {"linuxrc": b"#!/bin/bash\n", "include": b"", "sbin/nbd-client": b"", NBD_MODULE: b"", AOE_MODULE: b""}
KIWI_LIVE = {
    "usr/lib/dracut/modules.txt": b"bash\nnetwork\nkiwi-live\n",
    "usr/lib/kiwi-live-lib.sh": b"local iso_url=${root#live:net:}\n",
    AOE_MODULE: b"",
}
KIWI_LIVE_AOE = KIWI_LIVE | {"usr/lib/kiwi-live-lib.sh": b"function loadKernelModules {\n"}
CASPER = {"scripts/casper": b"", f"usr/lib/modules/{VERSION}/modules.dep": b""}
ARCHISO = {"hooks/archiso_pxe_nbd": b"", "usr/bin/nbd-client": b"", NBD_MODULE: b""}
LOCAL = {"scripts/local": b"", f"usr/lib/modules/{VERSION}/kernel/fs/ext4.ko": b""}  # knows disks only


def archive(files: Mapping[str, bytes]) -> bytes:
    """A cpio archive of files by name."""
    return b"".join(cpio.build_archive(cpio.file(name, data) for name, data in files.items()))


def lz4_legacy(data: bytes) -> bytes:
    """As `lz4 -l` packs it: blocks of 8 MiB, each behind its packed size."""
    blocks = (lz4.block.compress(data[at : at + (8 << 20)], store_size=False) for at in range(0, len(data), 8 << 20))
    return b"\x02\x21\x4c\x18" + b"".join(struct.pack("<I", len(block)) + block for block in blocks)


LZOP_HEADER = bytes.fromhex("894c5a4f000d0a1a0a104020a0094003090300000d000000006b035be600000000002b860325")  # lzop -9


def lzop(data: bytes) -> bytes:
    """As lzop packs what can't be made smaller: blocks of 256 KiB, each behind two sizes and one sum."""
    blocks = (data[at : at + (256 << 10)] for at in range(0, len(data), 256 << 10))
    return LZOP_HEADER + b"".join(struct.pack(">III", len(b), len(b), 0) + b for b in blocks) + bytes(4)


def zstd(data: bytes) -> bytes:
    """One frame of zstd."""
    return zstandard.ZstdCompressor().compress(data)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes,
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "bzip2": bz2.compress,
    "zstd": zstd,
    "lz4": lz4_legacy,
    "lzo": lzop,
}


def kernel(version: str = VERSION) -> bytes:
    """The beginning of a bzImage that is an EFI program too, and says its version as the kernel's build does."""
    text = 0x3000
    head = b"MZ".ljust(0x202, b"\0") + b"HdrS" + struct.pack("<HIHH", 0x020F, 0, 0, text - 0x200)
    return head.ljust(text, b"\0") + f"{version} (builder@host) #1 SMP".encode() + bytes(64)
