"""Configurations by root: of machines that have nothing else of their own, and of a group's that have disks besides."""

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


def with_private(config: ClientConfig, private: Private) -> ClientConfig:
    """A group's configuration as one of its machines gets it: with that machine's own exports where it names none.

    The one to write to is named behind that for swap: clients move fields left over empty ones.
    """
    nbd, aoe, overlay = config.nbdroot, config.aoeroot, config.unionfs_config
    if private.write is None or (nbd is not None and aoe is not None):  # of two roots nobody can say which is meant
        return config
    if nbd is not None and nbd.write_export is None and (swap := nbd.swap_export or private.swap):
        fields = nbd.model_dump() | {"swap_export": swap, "write_export": private.write}
        changes: dict[str, object] = {"nbdroot": NbdRoot.model_validate(fields)}
    elif aoe is not None and aoe.write_device is None:
        changes = {"aoeroot": AoeRoot(device=aoe.device, write_device=f"/dev/etherd/{private.write}")}
    else:
        return config
    if overlay is not None and overlay.rw == "tmpfs":
        changes["unionfs_config"] = overlay.model_copy(update={"rw": overlay.ro})
    return config.model_copy(update=changes)
