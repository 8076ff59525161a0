"""The configuration of a machine that has nothing of its own but a root: an image over NBD or AoE, or in its memory."""

from dataclasses import dataclass
from typing import Literal

from appliance.kiwi.entries import AoeRoot, Image, NbdRoot, Overlay
from appliance.kiwi.model import ClientConfig
from appliance.kiwi.names import split_name


@dataclass(frozen=True, slots=True)
class Private:
    """One machine's own exports, by name (NBD) or address (AoE, as e17.1); None: it has none, and writes to memory."""

    write: str | None = None
    swap: str | None = None


NOTHING_PRIVATE = Private()


def root_config(
    root: Literal["nbd", "aoe", "ram"], *, image: str, target: str, private: Private = NOTHING_PRIVATE
) -> ClientConfig:
    """The configuration by which a machine boots `image` over NBD, AoE (`target`, as e0.1) or into memory.

    Raises: pydantic.ValidationError when a name can't be given to clients.
    """
    if root == "ram":
        name, version = split_name(image)
        fetched = Image(device="/dev/ram1", name=name, version=version)
        return ClientConfig(image=(fetched,), unionfs_config=Overlay(rw="tmpfs", ro="/dev/ram1"))
    if root == "aoe":
        write = f"/dev/etherd/{private.write}" if private.write else None
        aoe = AoeRoot(device=f"/dev/etherd/{target}", write_device=write)
        return ClientConfig(aoeroot=aoe, unionfs_config=Overlay(rw="aoe" if write else "tmpfs", ro="aoe"))
    nbd = NbdRoot(export=image, swap_export=private.swap, write_export=private.write)
    return ClientConfig(nbdroot=nbd, unionfs_config=Overlay(rw="nbd" if private.write else "tmpfs", ro="nbd"))
