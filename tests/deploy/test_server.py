"""The appliance's configuration as the lab writes it, read by the appliance's own reader."""

from pathlib import Path

from appliance.config import load_config
from deploy.lab.plan import KERNEL_WORDS, plan_clients
from deploy.lab.server import BootSettings, write_config


def test_the_configuration_says_what_each_client_boots(tmp_path: Path) -> None:
    """Each machine's root, and the words for every kernel."""
    path = tmp_path / "rootwire.toml"
    write_config(path, plan_clients(3, "mixed", "mixed", "pxelinux"), BootSettings(files=20), gives_addresses=False)
    config = load_config(path)
    assert config.boot.append == f"{KERNEL_WORDS} quiet demo.files=20"
    assert {mac[-2:]: machine.root for mac, machine in config.machines.items()} == {
        "00": "nbd",
        "01": "aoe",
        "02": "ram",
    }
    assert {machine.bios_loader for machine in config.machines.values()} == {"pxelinux"}


def test_machines_may_have_no_table(tmp_path: Path) -> None:
    """What else is said stands in the tables that it belongs to."""
    path = tmp_path / "rootwire.toml"
    settings = BootSettings(more=('write = "keep"',), machines=False, tables='[kiwi]\nunknown = "register"\n')
    write_config(path, plan_clients(1, "bios", "nbd"), settings, gives_addresses=True)
    config = load_config(path)
    assert config.dhcp.is_on
    assert (config.boot.write, config.machines, config.kiwi.unknown) == ("keep", {}, "register")
