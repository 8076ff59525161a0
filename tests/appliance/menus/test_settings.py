"""[menu] and its tables: who has the last word, and what becomes of a menu."""

from pathlib import Path

import pytest

from appliance.config import Config
from appliance.errors import OperatorError
from appliance.images.catalog import Catalog
from appliance.menus.model import Choice, Menu
from appliance.menus.settings import LOCAL, MenuSettings, MenuTable, arrange
from appliance.plan import Plans

MAC = "52:54:00:77:00:01"
IMAGES = (Choice("a", "Image A", "a/linux"), Choice("b", "Image B", "b/linux"))
MENU = Menu(IMAGES, "a")


def plans(folder: Path, text: dict[str, object], group: str | None = None) -> Plans:
    """The plans of a box with this configuration and no images, all of whose machines are in `group`."""
    config = Config.model_validate(text)
    return Plans(config, Catalog(folder), server="10.77.0.2", group_of=lambda mac: group)


def test_without_settings_nothing_changes() -> None:
    """A machine boots its image at once, and is offered nothing else."""
    assert arrange(MENU, MenuSettings()) == MENU


def test_local_disk_is_the_last_choice() -> None:
    """Where it is wanted."""
    assert arrange(MENU, MenuSettings(local=True, timeout=5)) == Menu((*IMAGES, LOCAL), "a", 5.0)


def test_local_disk_as_default_is_offered() -> None:
    """Whether or not it was asked for beside that."""
    assert arrange(MENU, MenuSettings(default="local")).default_choice() == LOCAL


def test_default_by_label() -> None:
    """One of the images; one that this machine is not offered leaves its own."""
    assert arrange(MENU, MenuSettings(default="b")).default == "b"
    assert arrange(MENU, MenuSettings(default="c")).default == "a"


def test_a_notice_stays_alone() -> None:
    """There is nothing to choose from yet."""
    menu = Menu((), notice="soon")
    assert arrange(menu, MenuSettings(local=True)) == menu


def test_the_most_special_has_the_last_word() -> None:
    """Machine, group, image, all: key by key."""
    table = MenuTable.model_validate(
        {
            "timeout": 1,
            "local": True,
            "images": {"a": {"timeout": 2, "default": "a"}},
            "groups": {"lab": {"timeout": 3}},
        }
    )
    assert table.settle(None, None, None) == MenuSettings(timeout=1, local=True)
    assert table.settle("a", None, None) == MenuSettings(timeout=2, local=True, default="a")
    assert table.settle("a", "lab", None) == MenuSettings(timeout=3, local=True, default="a")
    assert table.settle("a", "lab", MenuSettings(local=False)) == MenuSettings(timeout=3, local=False, default="a")


def test_a_machines_menu(tmp_path: Path) -> None:
    """By its own table; what any machine gets is another."""
    made = plans(tmp_path, {"machines": {MAC: {"menu": {"timeout": 5, "local": True}}}})
    assert made.menu(MAC).choices[-1] == LOCAL
    assert made.menu(MAC).timeout == 5
    assert LOCAL not in made.menu(None).choices


def test_a_groups_menu(tmp_path: Path) -> None:
    """Its machines have menus of their own, without a table for each."""
    text: dict[str, object] = {"menu": {"groups": {"lab": {"local": True}}}}
    assert plans(tmp_path, text, "lab").has_own_menu(MAC)
    assert LOCAL in plans(tmp_path, text, "lab").menu(MAC).choices
    assert not plans(tmp_path, text, "office").has_own_menu(MAC)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ({"menu": {"default": "gone"}}, "[menu]"),
        ({"menu": {"groups": {"lab": {"default": "gone"}}}}, "[menu.groups.lab]"),
        ({"menu": {"images": {"a": {"default": "gone"}}}}, '[menu.images."a"]'),
        ({"machines": {MAC: {"menu": {"default": "gone"}}}}, f'[machines."{MAC}".menu]'),
    ],
)
def test_a_default_that_is_none(tmp_path: Path, text: dict[str, object], place: str) -> None:
    """The operator is told where it is written, and what there is."""
    with pytest.raises(OperatorError) as refused:
        plans(tmp_path, text).check()
    assert place in str(refused.value)


@pytest.mark.parametrize("default", ["local", "rootwire"])
def test_defaults_that_are_always_there(tmp_path: Path, default: str) -> None:
    """No image has to be called so."""
    plans(tmp_path, {"menu": {"default": default}}).check()
