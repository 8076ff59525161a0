"""What a machine may write to: its own settings, else those for all, else what is usual."""

from dataclasses import dataclass

from appliance.config import Config, Write, WriteSettings

WRITE_SIZE = 4 << 30  # bytes; a machine has used next to nothing of them until it writes
SWAP_SIZE = 128 << 20  # bytes; clients with 62 MiB of memory or less want it


@dataclass(frozen=True, slots=True)
class Policy:
    """What one machine may write to; sizes in bytes.

    Wherever there is something to write to there is a swap area, too: KIWI's clients can't be told of the one without
    the other.
    """

    write: Write
    write_size: int
    write_quota: int | None  # None: as much as its size
    write_base: str | None  # None: blank
    swap_size: int  # 0: none


def policy_of(config: Config, mac: str) -> Policy:
    """The policy of the machine `mac`."""
    own = config.machines.get(mac) or WriteSettings()
    base = config.boot
    write = own.write or base.write or "none"
    swap_size = own.swap_size or base.swap_size or (0 if write == "none" else SWAP_SIZE)
    return Policy(
        write=write,
        write_size=own.write_size or base.write_size or WRITE_SIZE,
        write_quota=own.write_quota or base.write_quota,
        write_base=own.write_base or base.write_base,
        swap_size=swap_size,
    )
