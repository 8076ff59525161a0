"""Rule files: image/NAME.toml says how the image NAME boots, where what is found in it would not do."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator

from appliance.config import CommandLine, Root, read_settings
from appliance.deployment.finding import SAFE_PATH
from appliance.deployment.kinds import Kind
from appliance.images.catalog import RULES_SUFFIX
from appliance.section import Section

OWN_INITRD = "own"  # in place of a path: make rootwire's for the kernel


def _path_inside(text: str) -> str:
    if not SAFE_PATH.fullmatch(text):
        raise ValueError("must be a path inside the image, from its root, of letters, digits and / . _ + @ ~ -")
    return text


PathInside = Annotated[str, AfterValidator(_path_inside)]


class Rule(Section):
    """What a rule file may say; what it leaves out is found in the image, or in the configuration's [boot]."""

    kernel: PathInside | None = None
    initrd: Literal["own"] | PathInside | None = None
    kind: Kind | None = None
    append: CommandLine = ""
    root: Root | None = None


def rule_file(folder: Path, image: str) -> Path:
    """Where the rule file of an image is, if it has one; `folder` is image/."""
    return folder / f"{image}{RULES_SUFFIX}"


def read_rule(path: Path) -> Rule:
    """The rule file at `path`. Raises: OperatorError naming file and key."""
    return read_settings(path, Rule, "rule file")
