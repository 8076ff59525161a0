"""The typed model and its text: what is compiled is read back as the same model, by us and by a client's shell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from appliance.kiwi.compiler import compile_config
from appliance.kiwi.entries import (
    AoeRoot,
    ConfigFile,
    Image,
    NbdRoot,
    NfsRoot,
    Overlay,
    Partition,
    Raid,
)
from appliance.kiwi.model import SPELLINGS, ClientConfig, read_model
from appliance.kiwi.reading import assignments, read_lines

SERVER = "10.11.0.1"

WORDS = st.from_regex(r"[A-Za-z0-9._:/+-]{1,12}", fullmatch=True)
NAMES = st.from_regex(r"[A-Za-z0-9_+][A-Za-z0-9._+-]{0,12}", fullmatch=True)
PATHS = st.from_regex(r"/[A-Za-z0-9._:/+-]{0,12}", fullmatch=True)
DEVICES = st.from_regex(r"/dev/[a-z]{2}[a-z0-9]{1,6}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="'\\"), min_size=1, max_size=30)
BLOCKS = st.integers(8, 65464)
KEYS = st.from_regex(r"x_[a-z0-9_]{1,8}", fullmatch=True)
TARGETS = st.builds("/dev/etherd/e{}.{}".format, st.integers(0, 65534), st.integers(0, 254))

IMAGES = st.builds(
    Image,
    device=DEVICES,
    name=NAMES,
    version=NAMES,
    server=WORDS,
    block=BLOCKS,
    compression=st.sampled_from([None, "gzip", "xz"]),
)
FILES = st.builds(ConfigFile, source=WORDS, destination=PATHS, server=WORDS, block=BLOCKS, hash=st.none() | WORDS)
PARTITIONS = st.builds(
    Partition,
    size=st.none() | st.integers(1, 1 << 40),
    type=st.sampled_from(["82", "83", "8e", "fd", "41", "ef"]),
    mount=st.none() | PATHS | st.just("swap"),
)
NBD = st.one_of(
    st.builds(NbdRoot, server=WORDS, export=WORDS, device=DEVICES),
    st.builds(NbdRoot, server=WORDS, export=WORDS, device=DEVICES, swap_export=WORDS, swap_device=DEVICES),
    st.builds(
        NbdRoot,
        server=WORDS,
        export=WORDS,
        device=DEVICES,
        swap_export=WORDS,
        swap_device=DEVICES,
        write_export=WORDS,
        write_device=DEVICES | st.just("tmpfs"),
    ),
)
STRUCTURES = {
    "disk": st.none() | DEVICES,
    "part": st.lists(PARTITIONS, max_size=3).map(tuple),
    "raid": st.none() | st.builds(Raid, first=DEVICES, second=DEVICES),
    "image": st.lists(IMAGES, max_size=2).map(tuple),
    "nbdroot": st.none() | NBD,
    "aoeroot": st.none() | st.builds(AoeRoot, device=TARGETS, write_device=st.none() | TARGETS | st.just("tmpfs")),
    "nfsroot": st.none() | st.builds(NfsRoot, server=WORDS, path=PATHS),
    "unionfs_config": st.none()
    | st.builds(Overlay, rw=WORDS, ro=WORDS, type=st.sampled_from(["overlay", "unionfs", "clicfs", "seed"])),
    "conf": st.lists(FILES, max_size=2).map(tuple),
    "vendor_conf": st.lists(FILES, max_size=2).map(tuple),
    "kiwi_boot_timeout": st.none() | st.integers(0, 86400),
    "variables": st.dictionaries(KEYS, TEXTS | st.just(""), max_size=3),
}
WORDED = {
    "kiwi_kernel",
    "kiwi_initrd",
    "partitioner",
    "kiwi_devicepersistency",
    "kiwi_local_cache_dir",
    "fetch_file_temp_dir",
    "kiwiserver",
    "kiwiservertype",
}
SCALARS = {name: st.none() | (WORDS if name in WORDED else TEXTS) for name in SPELLINGS if name not in STRUCTURES}
MODELS = st.builds(ClientConfig, **STRUCTURES, **SCALARS)


@given(MODELS)
def test_what_is_compiled_reads_as_the_same_model(config: ClientConfig) -> None:
    """Every key of the contract's section 2, through the reading that is compared with a shell elsewhere."""
    lines = read_lines(compile_config(config, SERVER))
    assert all(line.is_safe for line in lines)
    assert read_model(assignments(lines)) == config


def compiled(**keys: object) -> str:
    """The text of a configuration given as a TOML table would."""
    return compile_config(ClientConfig.model_validate(keys), SERVER).decode()


def test_an_image_says_every_field_up_to_the_last() -> None:
    """Fixture F2: nothing empty, the server filled in."""
    image = {"device": "/dev/ram1", "name": "edge.x86_64", "version": "1.2.0", "block": 8192, "compression": "xz"}
    assert compiled(image=[image]) == "IMAGE='/dev/ram1;edge.x86_64;1.2.0;10.11.0.1;8192;compressed-xz'\n"


def test_partitions_have_numbers_for_types() -> None:
    """Section 2.4: letters never match what the client finds, so that it would wipe the disk at each boot."""
    assert compiled(part="512;S;x,2G;L;/,x;V;x,") == "PART='512;82;x,2048;83;/,x;8e;x'\n"


def test_the_timeout_has_both_spellings() -> None:
    """Section 2.7: books name the one that no code reads."""
    assert compiled(kiwi_boot_timeout=10) == "KIWI_BOOT_TIMEOUT='10'\nkiwi_boot_timeout='10'\n"


def test_switches_are_left_out_when_off() -> None:
    """Any text is yes to a client, even "no"."""
    assert compiled(reboot_image=True, reload_image=False) == "REBOOT_IMAGE='yes'\n"


def test_kiwi_7s_own_sample_is_taken() -> None:
    """Section 2.8: trailing commas, mixed types, a second entry behind the closing quote."""
    sample = b"""DISK=/dev/sda
PART="10;S;x,x;83;/,"
IMAGE='/dev/sda2;a.x86_64;1.0.0;10.0.0.1;4096;compressed-gzip','/dev/sda3;b.x86_64;1.0.0;10.0.0.1;4096'
CONF=CONFIGURATIONS/xorg.conf;/etc/X11/xorg.conf;10.0.0.1;4096,
kiwi_boot_timeout=5
"""
    config = read_model(assignments(read_lines(sample)))
    assert [image.fetched_path for image in config.image] == ["image/a.x86_64-1.0.0.gz", "image/b.x86_64-1.0.0"]
    assert [part.type for part in config.part] == ["82", "83"]
    assert [file.destination for file in config.conf] == ["/etc/X11/xorg.conf"]
    assert config.kiwi_boot_timeout == 5


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("IMAGE", "/dev/ram1;a;1;s;4096;bzip2", "compression"),
        ("IMAGE", "/dev/ram1;a$(reboot);1", "name"),
        ("IMAGE", "/dev/ram1;image/a;1", "name"),
        ("IMAGE", "/dev/ram1;a;1;s;4096;compressed;more", "has 7 fields"),
        ("UNIONFS_CONFIG", "tmpfs,nfs,overlayfs", "type"),
        ("NBDROOT", "s;root;/dev/nbd0;;;;/dev/sda2", "needs its export"),
        ("NBDROOT", "s;root;/dev/nbd0;;;rw;/dev/sda2", "needs swap_export"),
        ("AOEROOT", "/dev/etherd/e65535.1", "no AoE target"),
        ("AOEROOT", "/dev/etherd/e1.255", "no AoE target"),
        ("PART", "X;83;/", "size"),
        ("RAID", "5;/dev/sda;/dev/sdb", "level"),
        ("KIWI_KERNEL_OPTIONS", "it's", "quotes"),
    ],
)
def test_what_clients_misread_is_no_model(key: str, value: str, message: str) -> None:
    """Documented or not: none of it works."""
    with pytest.raises(ValidationError, match=message):
        read_model({key: value})


@pytest.mark.parametrize(("key", "message"), [("IMAGE", "is image's"), ("a b", "letters"), ("1a", "letters")])
def test_other_variables_are_names_of_nothing_else(key: str, message: str) -> None:
    """A key that the model knows stands in one place only."""
    with pytest.raises(ValidationError, match=message):
        ClientConfig(variables={key: "x"})
