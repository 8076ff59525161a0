"""What tables say of a machine's root."""

from pathlib import Path

import pytest

from appliance.config import Config
from appliance.enrolment.inbox import Inbox
from appliance.enrolment.members import Enrolments, Members

MAC = "52:54:00:a1:b2:c3"
AOE, NBD = {"client": {"AOEROOT": "/dev/etherd/e0.1"}}, {"client": {"NBDROOT": "s;e;/dev/nbd0"}}


@pytest.mark.parametrize(
    ("kiwi", "expected"),
    [
        ({}, None),
        ({"groups": {"g": {"macs": [MAC]}}}, None),
        ({"groups": {"g": {"macs": [MAC], **AOE}}}, True),
        ({"groups": {"g": {"macs": [MAC], **NBD}}}, False),
        ({"groups": {"g": AOE}, "machines": {MAC: {"group": "g"}}}, True),
        ({"groups": {"g": {"macs": [MAC], **AOE}}, "machines": {MAC: NBD}}, False),
    ],
)
def test_the_root_that_a_machine_is_told(tmp_path: Path, kiwi: object, expected: bool | None) -> None:
    """Its own table's, else its group's; None where they leave it to [boot]."""
    members = Members(Config.model_validate({"kiwi": kiwi}).kiwi, Inbox(tmp_path), Enrolments(tmp_path))
    assert members.has_aoe_root(MAC) is expected
