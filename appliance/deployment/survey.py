"""One image looked into: which kernel and initramfs in it boot, and by which kind of client each root is mounted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from appliance.config import Root
from appliance.deployment.beside import INITRD_SUFFIX, KERNEL_SUFFIX, Beside, find_beside
from appliance.deployment.finding import Kernel, find_initrds, find_kernels, find_modules, open_file, read_version
from appliance.deployment.kinds import MEDIUM, SQUASHFS, Kind, recognise, ways_by
from appliance.deployment.media import find_layout
from appliance.deployment.rules import OWN_INITRD, Rule
from appliance.deployment.streams import ArchiveError
from storage.iso9660 import Iso
from storage.squashfs import Squashfs


@dataclass(frozen=True, slots=True)
class Deployment:
    """How an image boots by itself. One that does not boot has a `problem` and no kernel.

    Paths are inside the image and begin with a slash, or are what comes behind its name, of a file beside it: .kernel.
    `ways` are the roots that `initrd` can mount; `modules` is where rootwire's own initramfs takes its drivers from,
    "" when the image has none for this kernel. `words` are for the kernel; `remarks` say what was passed over and why.
    """

    kernel: str = ""
    version: str = ""
    initrd: str = ""
    ways: Mapping[Root, Kind] = field(default_factory=dict)
    modules: str = ""
    problem: str = ""
    words: str = ""
    remarks: tuple[str, ...] = ()


def look_into(image: Path, files: Squashfs | Iso | None, rule: Rule, root: str = SQUASHFS) -> Deployment | None:
    """How the image at a path boots: what is beside it comes before what is in it, unless its rule file names a file.

    `files` is what is in it, if it is a squashfs or an ISO, and `root` its format. None where nothing is looked into.
    Raises: StorageError or OSError where it can't be read.
    """
    beside = find_beside(image.parent, image.name)
    if beside is not None and rule.kernel is None and rule.initrd is None:
        return survey_beside(beside, files if isinstance(files, Squashfs) else None, root)
    if isinstance(files, Iso):
        return survey_medium(files, rule)
    return None if files is None else survey(files, rule)


def survey(files: Squashfs, rule: Rule) -> Deployment:
    """Look into an image; reads and unpacks whole initramfs archives: seconds, in a thread.

    Raises: StorageError where the image is damaged or can't be read.
    """
    if rule.kernel is not None:
        kernels = _named_kernel(files, rule.kernel)
        problem = f"its rule file's kernel {rule.kernel} is not in it, or is no kernel"
    else:
        kernels, problem = find_kernels(files), "it holds no kernel (/boot/vmlinuz-VERSION and the like)"
    for kernel in kernels:
        initrds = _initrds(files, kernel, rule)
        modules = find_modules(files, kernel.version) or ""
        if initrds or modules:
            return _choose_initrd(files, kernel, initrds, modules, rule)
        problem = f"for its kernel {kernel.path} it holds neither an initramfs nor modules"
    return Deployment(problem=problem)


def survey_beside(beside: Beside, files: Squashfs | None, root: str) -> Deployment:
    """Look at what is beside an image of the format `root`; `files` is what is in that, if it is a squashfs.

    As `survey`, but kernel and initramfs are those that were put beside it, and no others.
    """
    version = read_version(beside.kernel, "")
    if version is None:
        return Deployment(problem=f"its {KERNEL_SUFFIX} file is no kernel")
    modules = (find_modules(files, version) or "") if files is not None else ""
    try:
        found = recognise(beside.initrd, root)
    except ArchiveError as failure:
        return Deployment(problem=f"its {INITRD_SUFFIX} file {failure}")
    remarks = () if found.ways else (f"the {INITRD_SUFFIX} file beside it can't mount it over the network",)
    if not found.ways and not modules:
        return Deployment(problem=f"its {INITRD_SUFFIX} file can't mount it over the network")
    initrd = INITRD_SUFFIX if found.ways else ""
    return Deployment(KERNEL_SUFFIX, version, initrd, found.ways, modules, words=beside.words, remarks=remarks)


def survey_medium(medium: Iso, rule: Rule) -> Deployment:
    """Look into a medium; unpacks its initramfs. Raises: StorageError where it is damaged or can't be read."""
    layout = find_layout(medium)
    kernel = rule.kernel or (f"/{layout.kernel}" if layout else None)
    initrd = rule.initrd or (f"/{layout.initrd}" if layout else None)
    if kernel is None or initrd is None or initrd == OWN_INITRD:
        return Deployment(problem="it holds no kernel and initramfs at any place that is known")
    kind = rule.kind or (layout.kind if layout else None)
    try:
        version = read_version(medium.open_file(kernel), "")
        ways = ways_by(kind) if kind else recognise(medium.open_file(initrd), MEDIUM).ways
    except (OSError, ArchiveError) as failure:
        return Deployment(problem=f"its kernel {kernel} or initramfs {initrd} can't be read: {failure}")
    if version is None:
        return Deployment(problem=f"its {kernel} is no kernel")
    if not ways:
        return Deployment(problem=f"its initramfs {initrd} can't mount it over the network")
    return Deployment(kernel, version, initrd, ways)


def _named_kernel(files: Squashfs, path: str) -> list[Kernel]:
    opened = open_file(files, path)
    mark = path.rpartition("/")[2].partition("-")[2]
    version = None if opened is None else read_version(opened, mark)
    return [] if version is None else [Kernel(path, version, mark)]


def _initrds(files: Squashfs, kernel: Kernel, rule: Rule) -> list[str]:
    if rule.initrd == OWN_INITRD:
        return []
    return find_initrds(files, kernel) if rule.initrd is None else [rule.initrd]


def _choose_initrd(files: Squashfs, kernel: Kernel, initrds: list[str], modules: str, rule: Rule) -> Deployment:
    """The first of `initrds` that can mount any root; without one, the image boots by rootwire's own."""
    remarks: list[str] = []
    for path in initrds:
        ways, remark = _ways(files, path, kernel, rule)
        if ways:
            return Deployment(kernel.path, kernel.version, path, ways, modules, remarks=tuple(remarks))
        remarks.append(f"{path} {remark}")
    return Deployment(kernel.path, kernel.version, modules=modules, remarks=tuple(remarks))


def _ways(files: Squashfs, path: str, kernel: Kernel, rule: Rule) -> tuple[Mapping[Root, Kind], str]:
    opened = open_file(files, path)
    if opened is None:
        return {}, "is not in it"
    if rule.kind is not None:
        return ways_by(rule.kind), ""
    try:
        found = recognise(opened)
    except ArchiveError as failure:
        return {}, str(failure)
    if found.versions and kernel.version not in found.versions:
        return {}, f"is made for {', '.join(sorted(found.versions))}, not {kernel.version}"
    return found.ways, "can't mount a root over the network"
