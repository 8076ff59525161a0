"""[menu]: what generated menus offer beside the image, which choice is taken by itself, and when.

A machine's own table comes before its group's, that before its image's, and that before what holds for all.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated

from pydantic import Field

from appliance.menus.model import Choice, Menu
from appliance.section import GroupName, Section

LONGEST_WAIT = 3600.0  # seconds: PXELINUX counts tenths of them in 16 bits
LOCAL_LABEL = "local"
LOCAL = Choice(LOCAL_LABEL, "Boot from this machine's disk")

Seconds = Annotated[float, Field(ge=0, le=LONGEST_WAIT)]


class MenuSettings(Section):
    """The keys of every such table; what is absent comes from the more general one."""

    timeout: Seconds | None = None  # before the default is taken; 0: at once; absent: [boot] menu_seconds
    default: str | None = None  # "local", "rootwire" (boot/linux) or an image's name; absent: the machine's image
    local: bool | None = None  # whether the machine's own disk is offered


class MenuTable(MenuSettings):
    """[menu], with [menu.images.NAME] and [menu.groups.NAME]."""

    images: dict[str, MenuSettings] = Field(default_factory=dict)
    groups: dict[GroupName, MenuSettings] = Field(default_factory=dict)

    def settle(self, image: str | None, group: str | None, own: MenuSettings | None) -> MenuSettings:
        """What holds for a machine: what its tables say, the most special last."""
        tables = (self, self.images.get(image or ""), self.groups.get(group or ""), own)
        return _settle(table for table in tables if table is not None)

    def all_tables(self) -> dict[str, MenuSettings]:
        """Every table but the machines', by the name that the file has for it."""
        images = {f'menu.images."{name}"': each for name, each in self.images.items()}
        return {"menu": self, **images, **{f"menu.groups.{name}": each for name, each in self.groups.items()}}


def _settle(tables: Iterable[MenuSettings]) -> MenuSettings:
    said: dict[str, float | str | bool] = {}
    for table in tables:
        said |= {
            key: value
            for key, value in table.model_dump(include=set(MenuSettings.model_fields)).items()
            if value is not None
        }
    return MenuSettings.model_validate(said)


def arrange(menu: Menu, settings: MenuSettings) -> Menu:
    """The menu with what the settings add to it; one that only says why there is nothing stays as it is."""
    if not menu.choices:
        return menu
    is_wanted = LOCAL not in menu.choices and (settings.local or settings.default == LOCAL_LABEL)
    choices = (*menu.choices, LOCAL) if is_wanted else menu.choices
    known = settings.default in {choice.label for choice in choices}
    default = settings.default if known and settings.default is not None else menu.default
    seconds = menu.timeout if settings.timeout is None else settings.timeout
    return replace(menu, choices=choices, default=default, timeout=seconds)
