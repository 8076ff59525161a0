"""A machine's disk over NBD or over AoE, as the crash test's machine writes to it; raises Gone with the appliance."""

import os
import select
import socket
import time
import urllib.request
from collections.abc import Sequence
from errno import EIO
from pathlib import Path
from typing import Protocol

import nbd

from protocols.aoe import wire
from protocols.aoe.wire import AtaArgument, AtaCommand, AtaFlag, Command, ConfigArgument, Flag, Header
from protocols.ethernet import BROADCAST, parse_mac
from tests.interop.crashbook import BLOCK, BLOCKS, content
from tests.protocols.network import CLONE_NEWNET, check, libc

MAC, EXPORT = "52:54:00:a1:b2:c3", "rw-525400A1B2C3"
BOX, MACHINE = "10.98.0.1", "10.98.0.2"
SHELF, SLOT = 16, 1  # of the first machine that is given an address
SECTORS = BLOCK // wire.SECTOR_BYTES
AGAIN = 0.2  # seconds until a request is sent again: the target is shown some time after the appliance started
TOO_LONG = 120.0  # seconds; a hang ends in an error
NO_ADDRESS = bytes(6)


class Gone(Exception):
    """The appliance was killed: what this is about."""


class Disk(Protocol):
    """What the machine does with it."""

    forces: bool  # whether a write can ask to be kept at once

    def read(self) -> bytes: ...
    def write(self, begun: Sequence[tuple[int, int]], *, forced: bool) -> None: ...
    def flush(self) -> None: ...


def enter(namespace: Path) -> None:
    """Enter a machine's network for good."""
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    check(libc.setns(descriptor, CLONE_NEWNET))


class NbdDisk:
    """By libnbd, several writes at once."""

    forces = True

    def __init__(self, _stop: int) -> None:
        self._handle = nbd.NBD()
        self._handle.set_export_name(EXPORT)
        self._handle.connect_tcp(BOX, "10809")

    def read(self) -> bytes:
        """All of it."""
        return bytes(self._handle.pread(BLOCKS * BLOCK, 0))

    def write(self, begun: Sequence[tuple[int, int]], *, forced: bool) -> None:
        """Versions of blocks; returns once all are acknowledged."""
        flags = nbd.CMD_FLAG_FUA if forced else 0
        try:
            cookies = [
                self._handle.aio_pwrite(
                    nbd.Buffer.from_bytearray(bytearray(content(*one))), one[0] * BLOCK, flags=flags
                )
                for one in begun
            ]
            for cookie in cookies:
                while not self._handle.aio_command_completed(cookie):
                    self._handle.poll(-1)
        except nbd.Error as ended:
            raise Gone from ended

    def flush(self) -> None:
        """Returns once it is acknowledged."""
        try:
            self._handle.flush()
        except nbd.Error as ended:
            raise Gone from ended


class AoeDisk:
    """By raw frames, several writes at once; a flush is ATA's FLUSH CACHE EXT."""

    forces = False

    def __init__(self, stop: int) -> None:
        """`stop` is readable once the appliance is dead, and all that it answered has arrived."""
        self._stop = stop
        self._tag = 0
        urllib.request.urlopen(f"http://{BOX}/KIWI/config.{MAC}", timeout=TOO_LONG).close()
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
        self._socket.bind(("far", wire.ETHERTYPE))
        self._ask(Command.CONFIG, [wire.build_config(ConfigArgument(0, 0, 0, 1, 0, b""))])

    def read(self) -> bytes:
        """All of it."""
        return b"".join(
            bytes(self._ata(AtaCommand.READ_EXT, [(block * SECTORS, SECTORS, b"")])[0].data)[:BLOCK]
            for block in range(BLOCKS)
        )

    def write(self, begun: Sequence[tuple[int, int]], *, forced: bool) -> None:
        """Versions of blocks; returns once all are acknowledged."""
        assert not forced
        self._ata(AtaCommand.WRITE_EXT, [(one[0] * SECTORS, SECTORS, content(*one)) for one in begun])

    def flush(self) -> None:
        """Returns once it is acknowledged."""
        self._ata(AtaCommand.FLUSH_EXT, [(0, 0, b"")])

    def _ata(self, command: AtaCommand, ranges: Sequence[tuple[int, int, bytes]]) -> list[AtaArgument]:
        flags = AtaFlag.EXTENDED | (AtaFlag.WRITE if command == AtaCommand.WRITE_EXT else AtaFlag(0))
        asked = [wire.build_ata(AtaArgument(flags, 0, count, command, lba)) + data for lba, count, data in ranges]
        found = [wire.parse_ata(answer) for answer in self._ask(Command.ATA, asked)]
        if any(one.command != wire.AtaStatus.DRDY for one in found):
            raise OSError(EIO, f"the disk fails: {found}")
        return found

    def _ask(self, command: Command, arguments: Sequence[bytes]) -> list[bytes]:
        """Send requests, again where they are not answered; the arguments of the answers."""
        waiting: dict[int, bytes] = {}
        for argument in arguments:
            self._tag += 1
            source = parse_mac(MAC)
            header = Header(BROADCAST, source, wire.VERSION, Flag(0), 0, SHELF, SLOT, command, self._tag)
            waiting[self._tag] = (wire.build_header(header) + argument).ljust(60, b"\0")
        answers: dict[int, bytes] = {}
        end = time.monotonic() + TOO_LONG
        while len(answers) < len(waiting):
            if time.monotonic() > end:
                raise TimeoutError(f"no answer to {command!r}")
            for tag in waiting.keys() - answers.keys():
                self._socket.send(waiting[tag])
            while len(answers) < len(waiting) and (frame := self._receive()):
                found = wire.parse_header(frame)
                if found.tag in waiting and found.flags & Flag.RESPONSE and not found.flags & Flag.ERROR:
                    answers[found.tag] = frame[wire.HEADER_BYTES :]
        return [answers[tag] for tag in sorted(answers)]

    def _receive(self) -> bytes:
        """A frame, or nothing when none comes for a while."""
        ready, _, _ = select.select([self._socket.fileno(), self._stop], [], [], AGAIN)
        if self._socket.fileno() in ready:
            return self._socket.recv(65536)
        if self._stop in ready:
            raise Gone
        return b""
