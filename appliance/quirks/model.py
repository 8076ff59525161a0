"""What a quirk is: which machines it is of, and what is done differently for them.

The rows that come with rootwire are in rows.toml; the configuration has more, and has the last word.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from appliance.names import normalise
from appliance.section import GroupName, MacPrefix, Section
from protocols.dhcp.offer import MOST_MENU_ITEMS, WAIT_FOR_EVER
from protocols.dhcp.request import BootRequest
from protocols.tftp.options import MAX_BLKSIZE, MIN_BLKSIZE, WINDOWSIZE_CEILING

FlowName = Literal["complete", "binl", "menu", "http", "off"]

MOST_ROWS = 256  # each is looked at for every request
MOST_DISCOVERS = 1000
MOST_MBIT = 17_000  # beyond, the kernel's call takes no number
DAY = 86400.0


def _file_name(text: str) -> str:
    try:
        return normalise(text)
    except OSError as refusal:
        raise ValueError(f"must be the name of a file in the boot tree, or of a loader: {refusal}") from refusal


LoaderName = Annotated[str, Field(max_length=127), AfterValidator(_file_name)]  # what a reply's header has room for
Banner = Annotated[str, Field(pattern=r"^[ -~]{1,60}$")]


class Effects(Section):
    """What is done differently; None: nothing in this respect."""

    flow: FlowName | None = None
    adaptive: bool | None = None  # whether another flow is tried when this one is not taken up
    menu_items: Annotated[int, Field(ge=1, le=MOST_MENU_ITEMS)] | None = None
    menu_seconds: Annotated[int, Field(ge=0, le=WAIT_FOR_EVER)] | None = None
    banner: Banner | None = None
    loader: LoaderName | None = None
    blksize_max: Annotated[int, Field(ge=MIN_BLKSIZE, le=MAX_BLKSIZE)] | None = None
    window_max: Annotated[int, Field(ge=1, le=WINDOWSIZE_CEILING)] | None = None
    frag_ok: bool | None = None  # whether the firmware puts IP fragments together again
    tftp_wrap: Literal[0, 1] | None = None  # the number of the block after 65535
    pace_mbit: Annotated[int, Field(ge=1, le=MOST_MBIT)] | None = None  # megabits a second that are sent at most
    single_port: bool | None = None  # whether TFTP answers from port 69, as machines behind NAT need

    def with_others(self, others: "Effects") -> "Effects":
        """These, but as `others` have it where those say something."""
        said = {name: value for name in Effects.model_fields if (value := getattr(others, name)) is not None}
        return Effects.model_construct(**{**{name: getattr(self, name) for name in Effects.model_fields}, **said})


class Match(Section):
    """Which requests a row is for: those that fit everything that is given."""

    ouis: tuple[MacPrefix, ...] = ()  # the first digits of the MAC
    architectures: tuple[int, ...] = ()  # option 93
    vendor_class: str = ""  # what option 60 begins with
    user_class: str = ""  # one of option 77
    undi: str = ""  # option 94, as "3.16"
    uuid: str = ""  # what the UUID begins with, as dmidecode spells it

    def fits(self, request: BootRequest) -> bool:
        """Whether the row is for the machine that sent this."""
        return (
            (not self.ouis or request.mac.replace(":", "").startswith(self.ouis))
            and (not self.architectures or request.architecture in self.architectures)
            and request.vendor_class.startswith(self.vendor_class)
            and (not self.user_class or self.user_class in request.user_classes)
            and (not self.undi or request.undi == self.undi)
            and (request.uuid or "").startswith(self.uuid.lower())
        )


class Row(Effects):
    """One quirk: its name, whom it is of, what is done, why, and where that is known from."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    match: Match
    story: Annotated[str, Field(min_length=1, max_length=600)]
    source: str = ""


class QuirkSettings(Section):
    """[quirks]: rows of the operator's own, what is known of makers and groups, and how flows are tried."""

    adaptive: bool = True
    adaptive_discovers: Annotated[int, Field(ge=2, le=MOST_DISCOVERS)] = 4  # one attempt of firmware's
    adaptive_seconds: Annotated[float, Field(ge=1, le=DAY)] = 60.0  # in which it waits 4, 8, 16 and 32 s
    rows: Annotated[tuple[Row, ...], Field(max_length=MOST_ROWS)] = ()
    ouis: dict[MacPrefix, Effects] = Field(default_factory=dict)
    groups: dict[GroupName, Effects] = Field(default_factory=dict)
