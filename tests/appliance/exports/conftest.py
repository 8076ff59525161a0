"""What tests of machines' disks share: two machines, a policy to change, and whose an address is."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from appliance.exports.disks import Disks
from appliance.exports.exports import Exports, Surroundings
from appliance.exports.policy import Policy
from storage.image import BytesImage, Image

MIB = 1 << 20
MINE, THEIRS = "52:54:00:a1:b2:c3", "52:54:00:00:00:02"
KEEP = Policy("keep", 4 * MIB, None, None, MIB)


@dataclass
class World:
    """The appliance around the disks."""

    disks: Disks
    policies: dict[str, Policy] = field(default_factory=lambda: {MINE: KEEP, THEIRS: KEEP})
    owners: dict[str, str] = field(default_factory=lambda: {"10.0.0.1": MINE, "10.0.0.2": THEIRS})
    images: dict[str, Image] = field(default_factory=lambda: {"base": BytesImage(b"base" * 4096)})
    requests: dict[str, int] = field(default_factory=dict)

    def exports(self) -> Exports:
        """As a process that starts now finds them."""
        return Exports(
            self.disks,
            Surroundings(
                owner=self.owners.get,
                policy=lambda mac: self.policies[mac],
                image=self.images.get,
                requests=lambda name: self.requests.get(name, 0),
            ),
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two machines that may write, and keep it."""
    return World(Disks(tmp_path))
