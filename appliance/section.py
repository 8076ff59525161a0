"""What every table of the configuration is made of, and the names that machines have in it."""

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from protocols.ethernet import format_mac, parse_mac

_HEX = re.compile(r"[0-9a-f]{1,12}")


def _mac_key(text: str) -> str:
    return format_mac(parse_mac(text))


def _mac_prefix(text: str) -> str:
    digits = text.lower().translate({ord(separator): None for separator in ":-."})
    if not _HEX.fullmatch(digits):
        raise ValueError("must be the first digits of a MAC address, such as '00:1a:2b'")
    return digits


MacText = Annotated[str, BeforeValidator(_mac_key)]
MacPrefix = Annotated[str, AfterValidator(_mac_prefix)]
GroupName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]  # becomes part of a shell variable's name


class Section(BaseModel):
    """A table of the file: an unknown key is an error, not a silent typo."""

    model_config = ConfigDict(extra="forbid", frozen=True)
