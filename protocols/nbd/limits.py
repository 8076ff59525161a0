"""The bounds of NBD's sessions and server: named, with reasons, settable from the configuration."""

from dataclasses import dataclass

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class NbdLimits:
    """What one server allows; sizes in bytes, times in seconds."""

    connections: int = 1024  # in all; a new one past this is closed at once. Three rooms of diskless machines
    connections_per_client: int = 32  # per address; the kernel's -connections and nbdcopy use up to 16
    handshake_seconds: float = 30.0  # from accept to transmission, name look-ups included (slow-loris)
    options: int = 64  # of one handshake; real clients send under ten
    option_size: int = 64 << 10  # data of one option; a name of 4096 and a page of queries fit many times
    option_drained: int = MIB  # data of an option that is refused but read past; longer ones end the handshake
    payload: int = 32 * MIB  # of one READ or WRITE: what clients assume where nobody says (proto.md: Block sizes)
    requests_in_flight: int = 128  # per connection: the kernel's queue depth
    bytes_in_flight: int = 8 * MIB  # per connection, unless a single request is larger
    unsent: int = MIB  # replies waiting for a client that does not read, before no more of its requests are taken
    cached: int = 32 * MIB  # of one CACHE, which is a hint: the rest is left cold
    extents: int = 1024  # descriptors of one BLOCK_STATUS reply; the client asks again for what is left out
    silence_seconds: float = 600.0  # a peer that acknowledges nothing for so long is dead; idle ones answer keepalives
