"""Which set some files make up: a root image with its kernel and initrd, a disk image to be installed, or a medium."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from appliance.errors import OperatorError
from appliance.importing.recognising import Found, Role
from appliance.importing.staging import Staged
from appliance.kiwi.names import is_safe_name

INSTALLER = "pxeboot."  # what KIWI puts before the names of the system that installs

# KIWI 8 to 9.4.0 name the image by its file system; people give the others.
_IMAGE_SUFFIX = re.compile(
    r"(?:\.(?:squashfs|ext[234]|btrfs|xfs|erofs|raw))?(?:\.(?:xz|gz|zst|bz2))?(?:\.(?:squashfs|ext[234]))?$"
)
_MEDIUM_SUFFIX = ".iso"


class Kind(StrEnum):
    """What a set is."""

    ROOT = "root image"
    INSTALL = "installation"
    MEDIUM = "live or installation medium"


@dataclass(frozen=True, slots=True)
class Kit:
    """A set that is complete; `name` is what it will be called in image/."""

    kind: Kind
    name: str
    image: Staged
    is_packed: bool = False
    kernel: Staged | None = None
    initrd: Staged | None = None
    installer: Staged | None = None  # the initrd that installs
    append: Staged | None = None
    boot_options: Staged | None = None
    sums: tuple[Staged, ...] = ()

    @property
    def used(self) -> set[str]:
        """What the files that it is made of were called."""
        files = (self.image, self.kernel, self.initrd, self.installer, self.append, self.boot_options, *self.sums)
        return {staged.name for staged in files if staged is not None}


def assemble(found: Sequence[Found], links: Mapping[str, str], name: str | None) -> Kit:
    """The set that the files make up; `links` are other names of files, `name` is the one it is to have.

    Raises: OperatorError saying what is missing, or what there is too much of.
    """
    by_name = {one.name: one for one in found}
    for link, target in links.items():
        if target not in by_name:
            raise OperatorError(f"{link} is a link to {target}, which is not there", "build the archive again")
    media = _of(found, Role.MEDIUM)
    if media:
        return _medium(found, media, name)
    installs = any(one.name.startswith(INSTALLER) for one in found)
    return _installation(found, name) if installs else _root_image(found, name)


def _medium(found: Sequence[Found], media: list[Found], name: str | None) -> Kit:
    [medium] = _one(media, "media")
    chosen = name or medium.name
    chosen = chosen if chosen.endswith(_MEDIUM_SUFFIX) else f"{chosen}{_MEDIUM_SUFFIX}"
    return Kit(
        kind=Kind.MEDIUM,
        name=_checked(chosen),
        image=medium.staged,
        sums=_sums_of(found, medium.name),
    )


def _root_image(found: Sequence[Found], name: str | None) -> Kit:
    image = _the(found, (Role.IMAGE, Role.PACKED_IMAGE), "image of a root file system, installation disk or medium")
    kernels, initrds = _of(found, Role.KERNEL), _of(found, Role.INITRD)
    if bool(kernels) != bool(initrds):
        there, missing = ("kernel", "initrd") if kernels else ("initrd", "kernel")
        raise OperatorError(f"there is a {there} beside {image.name}, but no {missing}", f"name its {missing} as well")
    return Kit(
        kind=Kind.ROOT,
        name=_checked(name or _IMAGE_SUFFIX.sub("", image.name)),
        image=image.staged,
        is_packed=image.role is Role.PACKED_IMAGE,
        kernel=_first(_one(kernels, "kernels")),
        initrd=_first(_one(initrds, "initrds")),
        append=_first(_one(_of(found, Role.APPEND), "command lines")),
        sums=_sums_of(found, image.name),
    )


def _installation(found: Sequence[Found], name: str | None) -> Kit:
    image = _the(found, (Role.PACKED_IMAGE,), "compressed disk image")
    if not image.name.endswith(".xz"):
        raise OperatorError(f"{image.name} is not compressed by xz", "its client takes no other: build it anew")
    initrds = _of(found, Role.INITRD)
    installers = [one for one in initrds if one.name.startswith(INSTALLER)]
    systems = [one for one in initrds if one not in installers]
    if not installers:
        raise OperatorError(f"{image.name} comes without the initrd that installs it", "build the archive again")
    kernel = _the(found, (Role.KERNEL,), "kernel")
    return Kit(
        kind=Kind.INSTALL,
        name=_checked(name or image.name.removesuffix(".xz")),
        image=image.staged,
        is_packed=True,
        kernel=kernel.staged,
        initrd=_first(_one(systems, "initrds of the installed system")),
        installer=_first(_one(installers, "initrds that install")),
        append=_first(_one(_of(found, Role.APPEND), "command lines")),
        boot_options=_first(_one(_of(found, Role.BOOT_OPTIONS), "files of boot options")),
        sums=_sums_of(found, image.name),
    )


def _of(found: Iterable[Found], *roles: Role) -> list[Found]:
    return [one for one in found if one.role in roles]


def _the(found: Sequence[Found], roles: tuple[Role, ...], what: str) -> Found:
    fitting = _of(found, *roles)
    if not fitting:
        there = ", ".join(one.name for one in found[:5]) or "nothing"
        raise OperatorError(f"there is no {what} among what was given ({there})", "name what KIWI built")
    return _one(fitting, f"files that are each the {what}")[0]


def _one(fitting: list[Found], what: str) -> list[Found]:
    """At most one, however often it was given: by links and copies KIWI gives kernels several names."""
    different = {one.staged.sha256: one for one in reversed(fitting)}
    if len(different) > 1:
        names = ", ".join(one.name for one in fitting[:5])
        raise OperatorError(f"there are several {what}: {names}", "name those that belong together")
    return list(different.values())


def _first(found: Sequence[Found]) -> Staged | None:
    return found[0].staged if found else None


def _sums_of(found: Iterable[Found], image: str) -> tuple[Staged, ...]:
    """The checksum files of an image, by names of every version; archives have some, too."""
    stem = _IMAGE_SUFFIX.sub("", image)
    sums = (one.staged for one in found if one.role is Role.SUMS)
    return tuple(one for one in sums if _IMAGE_SUFFIX.sub("", one.name.rpartition(".")[0]) == stem)


def _checked(name: str) -> str:
    if not is_safe_name(name) or ".xz" in name:
        raise OperatorError(
            f"{name!r} is no name that every client takes", "give it one of letters, digits and . _ + -: --name NAME"
        )
    return name
