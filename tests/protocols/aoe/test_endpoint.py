"""The server on a cable of its own, asked by an initiator of ours."""

import asyncio
import random
from collections.abc import Iterator
from errno import EIO
from pathlib import Path

import pytest

from protocols.aoe import wire
from protocols.aoe.channel import PumpedPath
from protocols.aoe.endpoint import AoeLimits, AoeServer, InitiatorAsked, Target, TargetIdentified
from protocols.aoe.wire import Command, ErrorCode, Flag
from protocols.ethernet import BROADCAST, parse_mac
from storage.image import BytesImage, FileImage
from storage.trace import Trace
from tests.protocols.aoe.lan import CLIENT, CONTENT, OTHER, Initiator, Lan, ata, config, mac_of, serving, target
from tests.protocols.aoe.twin import PlainPath
from tests.protocols.network import cable, fresh_network, ip
from tests.storage.gate import gated_file

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True, params=[PumpedPath, PlainPath], ids=["pump", "plain"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test here runs over the native pump and over its twin."""
    monkeypatch.setattr(Lan, "path", request.param)


@pytest.fixture(autouse=True)
def network() -> Iterator[None]:
    """A namespace with one cable."""
    with fresh_network():
        cable("near", "far")
        yield


# Discovery


async def test_targets_announce_themselves_at_start() -> None:
    """A broadcast response each, tag 0, from our MAC."""
    server = AoeServer(report=lambda event: None, path=Lan.path)
    server.add(target(1))
    server.add(target(2))
    initiator = Initiator()
    await server.bind("near")
    task = asyncio.create_task(server.run())
    answers = [await initiator.receive() for _ in range(2)]
    assert [(answer.header.shelf, answer.header.slot) for answer in answers] == [(0, 1), (0, 2)]
    for answer in answers:
        assert answer.header.destination == BROADCAST
        assert answer.header.source == parse_mac(mac_of("near"))
        assert (answer.header.flags, answer.header.tag, answer.config.sectors) == (Flag.RESPONSE, 0, 2)
    task.cancel()
    initiator.close()


async def test_a_broadcast_query_is_answered_by_every_target() -> None:
    """To the sender alone, tag and addresses filled in."""
    async with serving(target(1), target(2)) as lan:
        lan.initiator.server = BROADCAST
        tag = lan.initiator.send(Command.CONFIG, config(), shelf=0xFFFF, slot=0xFF)
        answers = [await lan.initiator.answer_to(tag) for _ in range(2)]
        assert [answer.header.slot for answer in answers] == [1, 2]
        assert {answer.header.destination for answer in answers} == {parse_mac(CLIENT)}
        assert lan.events == [InitiatorAsked(CLIENT, 0, 1), InitiatorAsked(CLIENT, 0, 2)]


async def test_half_a_wildcard_finds_its_half() -> None:
    """Any shelf of slot 2, any slot of shelf 0; a shelf that is not here is silence."""
    async with serving(target(1), target(2)) as lan:
        assert (await lan.initiator.config(shelf=0xFFFF, slot=2)).header.slot == 2
        lan.initiator.send(Command.CONFIG, config(), shelf=7, slot=0xFF)
        lan.initiator.send(Command.CONFIG, config(), shelf=7, slot=1)
        assert (await lan.initiator.config(shelf=0, slot=0xFF)).header.slot == 1
        assert lan.server.counts["unaddressed"] == 2


async def test_config_strings_are_set_tested_and_kept() -> None:
    """1024 bytes of it; another while it is set is error 4."""
    async with serving(target()) as lan:
        longest = b"s" * 1024
        assert (await lan.initiator.config(3, longest)).config.string == longest
        refused = await lan.initiator.config(3, b"other")
        assert refused.header.flags == Flag.RESPONSE | Flag.ERROR
        assert refused.header.error == ErrorCode.CONFIG_STRING_PRESENT
        lan.initiator.send(Command.CONFIG, config(1, b"other"))
        assert (await lan.initiator.config(2, b"sss")).config.string == longest


# Disks


async def test_identify_and_every_sector_read() -> None:
    """The size, the content, and what the server tells of it."""
    async with serving(target()) as lan:
        identity = (await lan.initiator.ata(0xEC)).ata.data
        assert int.from_bytes(bytes(identity)[200:208], "little") == 64
        read = b"".join([await lan.initiator.read(lba, 2) for lba in range(0, 64, 2)])
        assert read == CONTENT
        assert lan.events == [TargetIdentified(CLIENT, 0, 1)]
        (initiator,) = lan.server.initiators()
        assert (initiator.mac, initiator.slot, initiator.bytes_read, initiator.commands) == (CLIENT, 1, 64 * 512, 33)


async def test_reads_are_noted_where_the_policy_says() -> None:
    """Those of a machine at one target, from the IDENTIFY on that found it; refused ones are none."""
    async with serving(target(1), target(2)) as lan:
        await lan.initiator.read(8, 1)
        trace = lan.traces[CLIENT, 0, 2] = Trace(16)
        for slot in (1, 2):
            await lan.initiator.ata(0xEC, slot=slot)
            await lan.initiator.ata(0x24, 62, 2, slot=slot)
            await lan.initiator.ata(0x24, 63, 2, slot=slot)
        assert [run[:2] for run in trace.runs()] == [(62 * 512, 1024)]


async def test_repeats_are_answered_alike() -> None:
    """The same tag twice brings the same answer twice, and one event."""
    async with serving(target()) as lan:
        first = await lan.initiator.ata(0xEC)
        lan.initiator.tag -= 1
        assert await lan.initiator.ata(0xEC) == first
        assert len(lan.events) == 1


async def test_jumbo_frames_carry_seventeen_sectors() -> None:
    """MTU 9000; more is a bad argument."""
    ip("link", "del", "near")
    cable("near", "far", mtu=9000)
    async with serving(target()) as lan:
        assert (await lan.initiator.config()).config.sectors == 17
        assert await lan.initiator.read(3, 17) == CONTENT[3 * 512 : 20 * 512]
        refused = await lan.initiator.ata(0x24, 0, 18)
        assert (refused.header.error, refused.ata.sectors) == (ErrorCode.BAD_ARGUMENT, 18)


async def test_an_mtu_that_changes_is_announced() -> None:
    """By an advertisement with the new number of sectors."""
    async with serving(target()) as lan:
        ip("link", "set", "far", "mtu", "4000")
        ip("link", "set", "near", "mtu", "4000")
        assert (await lan.initiator.receive()).config.sectors == 7


async def test_writes_reach_a_writable_image(tmp_path: Path) -> None:
    """And are there after a flush; the bytes behind the sectors are not written."""
    path = tmp_path / "disk"
    path.write_bytes(CONTENT)
    async with serving(Target(0, 1, FileImage(path, writable=True), "disk")) as lan:
        written = await lan.initiator.ata(0x34, 5, 2, b"w" * 1024 + b"behind")
        assert (written.ata.command, written.ata.sectors) == (0x40, 0)
        assert (await lan.initiator.ata(0xEA)).ata.command == 0x40
        assert path.read_bytes() == CONTENT[: 5 * 512] + b"w" * 1024 + CONTENT[7 * 512 :]
        assert await lan.initiator.read(5) == b"w" * 512
        assert lan.server.initiators()[0].bytes_written == 1024


async def test_writes_in_a_row_keep_their_own_bytes(tmp_path: Path) -> None:
    """Frames that are taken from the socket before the first is written."""
    path = tmp_path / "disk"
    path.write_bytes(bytes(8 * 512))
    async with serving(Target(0, 1, FileImage(path, writable=True), "disk")) as lan:
        tags = {lan.initiator.send(Command.ATA, ata(0x34, lba, 1, bytes([lba]) * 512)) for lba in range(8)}
        while tags:
            tags.discard((await lan.initiator.receive()).header.tag)
        assert path.read_bytes() == b"".join(bytes([lba]) * 512 for lba in range(8))


async def test_a_read_only_image_aborts_writes() -> None:
    """ABRT with ERR, at once."""
    async with serving(target()) as lan:
        refused = (await lan.initiator.ata(0x34, 0, 1, bytes(512))).ata
        assert (refused.command, refused.feature) == (0x41, 0x04)


async def test_an_image_of_odd_size_is_filled_up() -> None:
    """Zeros to the end of the last sector."""
    async with serving(target(content=CONTENT[:1000])) as lan:
        assert await lan.initiator.read(0, 2) == CONTENT[:1000] + bytes(24)


async def test_a_cold_read_holds_nobody_up(tmp_path: Path) -> None:
    """While one waits for its disk, another target answers; then the first does."""
    with gated_file(tmp_path / "cold", 100 * 512) as gate:
        async with serving(Target(0, 1, FileImage(gate.path), "cold"), target(2)) as lan:
            waiting = lan.initiator.send(Command.ATA, ata(0x24, 0, 2))
            assert await lan.initiator.read(0, slot=2) == CONTENT[:512]
            gate.open()
            assert bytes((await lan.initiator.answer_to(waiting)).ata.data)[:1024] == bytes(1024)


@pytest.mark.parametrize(
    "limits", [AoeLimits(in_flight_per_initiator=1), AoeLimits(in_flight=1)], ids=["of one machine", "of all"]
)
async def test_cold_reads_are_bounded(tmp_path: Path, limits: AoeLimits) -> None:
    """What is over is dropped and counted; asked for again, it comes."""
    with gated_file(tmp_path / "cold", 100 * 512) as gate:
        async with serving(Target(0, 1, FileImage(gate.path), "cold"), target(2), limits=limits) as lan:
            first = lan.initiator.send(Command.ATA, ata(0x24))
            lan.initiator.send(Command.ATA, ata(0x24, 1))
            await lan.initiator.read(0, slot=2)
            assert lan.server.counts["dropped_in_flight"] == 1
            gate.open()
            await lan.initiator.answer_to(first)
            assert await lan.initiator.read(1) == bytes(512)


@pytest.mark.parametrize(("command", "error"), [(0x24, 0x40), (0x34, 0x04)])
async def test_a_failing_image_is_an_ata_error(tmp_path: Path, command: int, error: int) -> None:
    """UNC for reads, ABRT for writes, with the registers as they came; the service goes on."""
    with gated_file(tmp_path / "broken", 100 * 512, EIO) as gate:
        async with serving(Target(0, 1, FileImage(gate.path, writable=True), "broken")) as lan:
            answer = (await lan.initiator.ata(command, 7, 1, bytes(512))).ata
            assert (answer.command, answer.feature, answer.sectors, answer.lba) == (0x41, error, 1, 7)
            assert (await lan.initiator.ata(0xEC)).ata.command == 0x40
            assert lan.server.counts["image_errors"] == 1


async def test_an_image_that_was_truncated_is_an_ata_error(tmp_path: Path) -> None:
    """Found out by the read in memory."""
    path = tmp_path / "disk"
    path.write_bytes(CONTENT)
    async with serving(Target(0, 1, FileImage(path), "disk")) as lan:
        path.write_bytes(b"")
        assert (await lan.initiator.ata(0x24)).ata.feature == 0x40


# Masks, reservations, refusals


async def test_a_masked_out_machine_gets_silence() -> None:
    """Its queries and reads are counted; a member's are answered, and members alone are told at start."""
    async with serving(target(1, allowed=frozenset({OTHER})), target(2)) as lan:
        lan.initiator.send(Command.CONFIG, config(), slot=1)
        lan.initiator.send(Command.ATA, ata(0x24), slot=1)
        await lan.initiator.config(slot=2)
        assert lan.server.counts["masked"] == 2
        assert (await lan.also(OTHER).ata(0x24)).ata.command == 0x40


async def test_a_private_target_stays_private_when_its_machine_empties_the_mask() -> None:
    """Of a shared disk an empty list admits everyone; of this one whom the operator named."""
    async with serving(target(1, allowed=frozenset({CLIENT})), target(2)) as lan:
        gone = wire.build_mask(wire.MaskArgument(1, 0, [wire.Directive(2, parse_mac(CLIENT))]))
        await lan.initiator.ask(Command.MASK, gone, slot=1)
        other = lan.also(OTHER)
        other.send(Command.CONFIG, config(), slot=1)
        other.send(Command.ATA, ata(0x24), slot=1)
        await other.config(slot=2)
        assert lan.server.counts["masked"] == 2
        assert (await lan.initiator.ata(0x24, slot=1)).ata.command == 0x40


async def test_a_masked_target_is_announced_to_its_members() -> None:
    """By unicast."""
    member = Initiator(mac=OTHER)
    async with serving(target(1, allowed=frozenset({OTHER}))):
        assert (await member.receive()).header.destination == parse_mac(OTHER)
    member.close()


async def test_a_mask_is_edited_over_the_wire() -> None:
    """Add ourselves; another is out; delete ourselves; everyone is in."""
    async with serving(target(), reservations=True) as lan:
        mine = wire.Directive(1, parse_mac(CLIENT))
        edited = await lan.initiator.ask(Command.MASK, wire.build_mask(wire.MaskArgument(1, 0, [mine])))
        assert wire.parse_mask(edited.argument).directives == [wire.Directive(0, parse_mac(CLIENT))]
        other = lan.also(OTHER)
        other.send(Command.CONFIG, config())
        gone = wire.Directive(2, parse_mac(CLIENT))
        await lan.initiator.ask(Command.MASK, wire.build_mask(wire.MaskArgument(1, 0, [gone])))
        assert (await other.config()).header.tag == 2


async def test_a_reserved_target_is_error_six_for_others() -> None:
    """Until it is released."""
    async with serving(target(), reservations=True) as lan:
        await lan.initiator.ask(Command.RESERVE, wire.build_reserve(wire.ReserveArgument(1, [parse_mac(OTHER)])))
        refused = await lan.initiator.ata(0x24)
        assert (refused.header.error, refused.ata.command) == (ErrorCode.TARGET_RESERVED, 0x24)
        await lan.initiator.ask(Command.RESERVE, wire.build_reserve(wire.ReserveArgument(2)))
        assert await lan.initiator.read(0) == CONTENT[:512]


async def test_nobody_is_shut_out_of_what_is_everybodys() -> None:
    """A reservation is an unknown command, a mask stays as it is; both can be read, and both machines are served."""
    async with serving(target()) as lan:
        claim = wire.build_reserve(wire.ReserveArgument(2, [parse_mac(CLIENT)]))
        assert (await lan.initiator.ask(Command.RESERVE, claim)).header.error == ErrorCode.BAD_COMMAND
        mine = wire.build_mask(wire.MaskArgument(1, 0, [wire.Directive(1, parse_mac(CLIENT))]))
        assert bytes((await lan.initiator.ask(Command.MASK, mine)).argument)[:4] == bytes([0, 1, 1, 0])
        assert (await lan.initiator.ask(Command.RESERVE, bytes(2))).header.error == 0
        assert await lan.also(OTHER).read(0) == await lan.initiator.read(0) == CONTENT[:512]


@pytest.mark.parametrize(
    ("command", "version", "error"),
    [(77, 1, ErrorCode.BAD_COMMAND), (Command.CONFIG, 2, ErrorCode.UNSUPPORTED_VERSION)],
)
async def test_what_is_not_understood_is_said(command: int, version: int, error: ErrorCode) -> None:
    """An error reply under the request's command and tag, in version 1."""
    async with serving(target()) as lan:
        answer = await lan.initiator.ask(command, config(), version=version)
        assert (answer.header.flags, answer.header.error) == (Flag.RESPONSE | Flag.ERROR, error)
        assert (answer.header.version, answer.header.command) == (1, command)


async def test_malformed_arguments_are_counted_and_said() -> None:
    """A list that leaves the frame is a bad argument; a runt has nobody to answer."""
    async with serving(target()) as lan:
        answer = await lan.initiator.ask(Command.MASK, bytes([0, 1, 0, 200]))
        assert answer.header.error == ErrorCode.BAD_ARGUMENT
        lan.initiator.socket.send(parse_mac(mac_of("near")) + parse_mac(CLIENT) + b"\x88\xa2\x10")
        await lan.initiator.config()
        assert lan.server.counts["malformed"] == 2


async def test_responses_and_impossible_senders_are_no_requests() -> None:
    """Another target's advertisement, and a broadcast as sender."""
    async with serving(target()) as lan:
        lan.initiator.send(Command.CONFIG, config(), flags=Flag.RESPONSE)
        honest, lan.initiator.mac = lan.initiator.mac, "ff:ff:ff:ff:ff:ff"
        lan.initiator.send(Command.CONFIG, config())
        lan.initiator.mac = honest
        await lan.initiator.config()
        assert lan.server.counts["not_requests"] == 2


async def test_random_bytes_change_nothing() -> None:
    """Five hundred frames of noise, with and without a plausible start; then it serves as before."""
    chance = random.Random(11)
    async with serving(target(), target(2)) as lan:
        good = lan.also(OTHER)
        for number in range(500):
            start = parse_mac(mac_of("near")) + parse_mac(CLIENT) + b"\x88\xa2"
            if number % 2:
                start += bytes([0x10, 0, 0, 0, 1, chance.randrange(5)])
            lan.initiator.socket.send(start + chance.randbytes(chance.randrange(80)))
            if number % 20 == 19:  # Python answers that, and so has had its turn before its line is full
                await good.config(slot=2)
        # Of the second target: noise may have set the first one's mask or reservation.
        assert await good.read(4, slot=2) == CONTENT[4 * 512 : 5 * 512]
        assert lan.server.counts["malformed"] > 0


# Targets that come and go


async def test_a_target_added_later_announces_itself() -> None:
    """And one removed falls silent."""
    async with serving(target(1)) as lan:
        lan.server.add(target(2))
        assert (await lan.initiator.receive()).header.slot == 2
        await lan.initiator.ata(0xEC)
        lan.server.remove(0, 1)
        assert lan.server.initiators() == []
        lan.initiator.send(Command.CONFIG, config(), slot=1)
        assert (await lan.initiator.config(slot=2)).header.slot == 2
        with pytest.raises(KeyError):
            lan.server.remove(0, 1)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (target(1), "taken"),
        (Target(0xFFFF, 2, BytesImage(CONTENT), "x"), "shelf"),
        (Target(0xFFF, 2, BytesImage(CONTENT), "x"), "4095"),
        (Target(0, 0xFF, BytesImage(CONTENT), "x"), "slot"),
        (Target(0, 2, BytesImage(b""), "x"), "empty"),
        (target(3), "more than 2"),
    ],
)
async def test_a_target_that_cannot_be_is_refused(wrong: Target, said: str) -> None:
    """With its address, and why."""
    server = AoeServer(report=lambda event: None, limits=AoeLimits(targets=2 if wrong.slot == 3 else 3))
    server.add(target(1))
    server.add(target(9))
    with pytest.raises(ValueError, match=said):
        server.add(wrong)


async def test_a_writable_image_has_to_be_whole_sectors(tmp_path: Path) -> None:
    """Padding can't be written to."""
    path = tmp_path / "disk"
    path.write_bytes(b"x" * 1000)
    with pytest.raises(ValueError, match="whole sectors"):
        AoeServer(report=lambda event: None).add(Target(0, 1, FileImage(path, writable=True), "disk"))
