"""Menu choices of images that boot by themselves: the kernel inside, and the initramfs inside or made by rootwire."""

import typing

from appliance.config import Root
from appliance.deployment.cmdline import TREE_INITRDS, CommandLine, Place, command_line
from appliance.deployment.deployments import Deployments
from appliance.deployment.kinds import Kind
from appliance.deployment.survey import Deployment
from appliance.images.catalog import Entry
from appliance.menus.model import Choice
from appliance.names import INSIDE

ROOTS: tuple[Root, ...] = typing.get_args(Root)


class Choices:
    """Makes the choices, from what is known of the images at the moment."""

    def __init__(self, deployments: Deployments, *, server: str) -> None:
        """`server` is our IPv4 address."""
        self._deployments = deployments
        self._server = server

    def ruled_root(self, image: str) -> Root | None:
        """The root that the image's rule file asks for."""
        return self._deployments.rule(image).root

    def natural_root(self, image: str) -> Root | None:
        """The root that the image's own initramfs mounts best; None when it can't any, or is not known yet."""
        found = self._deployments.get(image)
        return None if found is None else next(iter(found.ways), None)

    def choice(self, entry: Entry, root: Root, append: str) -> Choice | str:
        """How a machine boots the image by `root`, with `append`; or why it can't yet, in words for its screen."""
        found = self._deployments.get(entry.name)
        if found is None:
            return f"looking into {entry.name} for a kernel"
        if found.problem:
            return f"{entry.name} does not boot by itself, {found.problem}"
        line, initrd = self._line(entry, found, root), _served(entry, found.initrd)
        if line is None:
            own = self._deployments.own_initrd(entry.name)
            if own.path is None:
                return own.problem or f"the initramfs for {entry.name} is being made"
            line, initrd = command_line(Kind.OWN, root, self._place(entry, found)), f"{TREE_INITRDS}/{entry.name}"
        rule = self._deployments.rule(entry.name)
        words = " ".join(part for part in (line.words, found.words, append, rule.append) if part)
        title = f"{entry.name}, Linux {found.version}"
        return Choice(entry.name, title, _served(entry, found.kernel), (initrd,), words, line.ipappend)

    def is_stuck(self, entry: Entry) -> bool:
        """Whether it is known that no loader can boot the image."""
        found = self._deployments.get(entry.name)
        return found is not None and bool(found.problem)

    def is_named(self, entry: Entry, root: Root) -> bool:
        """Whether the command line names this very image: some clients boot what the machine's plan says."""
        found = self._deployments.get(entry.name)
        return found is not None and found.ways.get(root, Kind.OWN) not in (Kind.OWN, Kind.KIWI_NETBOOT)

    def needs_own(self, entry: Entry, found: Deployment, root: Root) -> bool:
        """Whether the image's initramfs can't mount this root."""
        return self._line(entry, found, root) is None

    def _line(self, entry: Entry, found: Deployment, root: Root) -> CommandLine | None:
        kind = found.ways.get(root)
        return None if kind is None else command_line(kind, root, self._place(entry, found))

    def _place(self, entry: Entry, found: Deployment) -> Place:
        return Place(self._server, entry.name, entry.target, entry.image.size, found.kernel)


def _served(entry: Entry, path: str) -> str:
    """Where a file of the image's is served: one inside it, or one beside it."""
    return f"image/{entry.name}{INSIDE}{path.lstrip('/')}" if path.startswith("/") else f"image/{entry.name}{path}"
