"""A boot menu as every loader has it: choices, a default, a timeout."""

import re
from dataclasses import dataclass

IPAPPEND_BOTH = 3  # ip=... and BOOTIF=...: without the first the client has to guess its server
RETRY_SECONDS = 10  # before a client whose boot failed starts over: long enough to read the message
ASK_AGAIN_SECONDS = 5  # before a machine that has nothing to boot asks for its menu again

_UNFIT = re.compile(r"[^A-Za-z0-9 .,:()/_+@=~'-]")


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of a menu: what to load and what to tell it. A choice without a kernel boots the local disk."""

    label: str
    title: str = ""
    kernel: str = ""
    initrds: tuple[str, ...] = ()
    append: str = ""
    ipappend: int = 0

    @property
    def is_local(self) -> bool:
        """Whether this choice leaves the network and boots the machine's own disk."""
        return not self.kernel


@dataclass(frozen=True, slots=True)
class Menu:
    """Choices, which of them is taken by itself, and after how many seconds (0: at once).

    Without choices, `notice` says why; a machine is shown it, and asks again.
    """

    choices: tuple[Choice, ...]
    default: str = ""
    timeout: float = 0.0
    notice: str = ""

    def default_choice(self) -> Choice | None:
        """The choice that is taken by itself: the named one, else the first; None for an empty menu."""
        for choice in self.choices:
            if choice.label == self.default:
                return choice
        return self.choices[0] if self.choices else None


def plain(notice: str) -> str:
    """Without what a script would act on: part of it may be a name out of somebody's image."""
    return _UNFIT.sub("?", notice)
