"""A client's configuration as the exact text it reads: one key a line, single quotes, nothing that a shell could run.

This is the part of the grammar that every version of the client reads alike: no empty field before the last one
needed, types of partitions as numbers, both spellings of the boot timeout.
"""

from appliance.kiwi.entries import Entry
from appliance.kiwi.model import SPELLINGS, ClientConfig


def compile_config(config: ClientConfig, server: str) -> bytes:
    """The text; `server`, our IPv4 address, stands where an entry names no other."""
    lines = [
        f"{spelling}='{_write(value, server)}'\n"
        for name, spellings in SPELLINGS.items()
        if (value := getattr(config, name)) not in (None, ())
        for spelling in spellings
    ]
    lines += [f"{key}='{value}'\n" for key, value in config.variables.items()]
    return "".join(lines).encode()


def _write(value: object, server: str) -> str:
    if isinstance(value, tuple):
        return ",".join(_write(entry, server) for entry in value)
    return value.write(server) if isinstance(value, Entry) else str(value)
