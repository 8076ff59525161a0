"""Tables as a terminal of a given size shows them, compared as text."""

import io
from typing import cast

import pytest
from rich.console import Console, RenderableType

from appliance.reports.report import ImageReport, MachinesReport, report_history, report_machine
from appliance.reports.tables import (
    describe_bytes,
    describe_seconds,
    machine_view,
    machines_table,
    machines_view,
    summarize,
    timeline_table,
)
from appliance.timeline.stage import Firmware, Stage
from appliance.timeline.timeline import Timeline

WIDE = """\
machine            address     firmware     stage                for  loader                   root           bytes
52:54:00:77:00:01  10.77.0.51  BIOS kernel  root connected  1 m 16 s  pxelinux.0, ldlinux.c32  nbd bookworm  8.4 MB
52:54:00:77:00:02  10.77.0.52               kernel             1.0 s
"""
NARROW = """\
machine            address     firmware     stage                for   bytes
52:54:00:77:00:01  10.77.0.51  BIOS kernel  root connected  1 m 15 s  8.4 MB
"""
TIMELINE = """\
52:54:00:77:00:01  10.77.0.51  BIOS  pxe
uuid 4c4c4544-0042-3510-8053-b3c04f393233

stage                   at    took     bytes  detail
discovered         +0.00 s                    (x2)
offered            +2.00 s                    (x2)
loader             +3.00 s  0.25 s  158.4 kB  pxelinux.0, ldlinux.c32
kernel             +3.00 s  1.00 s    8.2 MB  boot/linux
discovered again   +4.00 s                    iPXE
root connected    +13.00 s                    nbd bookworm

root connected for 1 m 15 s
"""


class Lab:
    """A timeline whose clock the test sets."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0
        self.images: list[ImageReport] = []
        self.timeline = Timeline(clock=lambda: self.now)

    def reach(self, number: int, *stages: Stage, pause: float = 1.0) -> str:
        """Take machine `number` through stages; returns its MAC."""
        mac = f"52:54:00:77:00:{number:02x}"
        for stage in stages:
            firmware = Firmware.PXE if stage < Stage.LOADER else None
            self.timeline.note(stage, mac=mac, address=f"10.77.0.{50 + number}", firmware=firmware)
            self.now += pause
        return mac

    def boot_bios(self) -> str:
        """One BIOS machine from DISCOVER to a connected root."""
        mac = self.reach(1, Stage.DISCOVERED, Stage.DISCOVERED, Stage.OFFERED)
        note = self.timeline.note
        note(Stage.OFFERED, mac=mac, architecture="BIOS", uuid="4c4c4544-0042-3510-8053-b3c04f393233")
        note(Stage.LOADER, mac=mac, detail="pxelinux.0", size=42_430)
        note(Stage.LOADER, mac=mac, detail="ldlinux.c32", size=116_000, seconds=0.25)
        self.now += 1.0
        note(Stage.DISCOVERED, mac=mac, detail="iPXE", firmware=Firmware.IPXE)
        note(Stage.KERNEL, mac=mac, detail="boot/linux", size=8_200_000, seconds=1.0)
        self.now += 9
        note(Stage.ROOT_CONNECTED, mac=mac, detail="nbd bookworm")
        self.now += 75
        return mac

    def report(self) -> MachinesReport:
        """All machines now."""
        machines = [report_machine(m, self.now) for m in self.timeline.machines()]
        return {"time": self.now, "machines": machines, "images": self.images}


@pytest.fixture
def lab() -> Lab:
    return Lab()


def screen(width: int, height: int = 24) -> Console:
    """A terminal without colours."""
    return Console(file=io.StringIO(), width=width, height=height, color_system=None)


def lines(content: RenderableType, console: Console) -> list[str]:
    """What the console shows, without the blanks at the end of lines."""
    console.print(content)
    return [line.rstrip() for line in cast(io.StringIO, console.file).getvalue().splitlines()]


def test_machines_on_a_wide_terminal(lab: Lab) -> None:
    """Everything has room."""
    lab.boot_bios()
    lab.reach(2, Stage.KERNEL)
    assert lines(machines_table(lab.report()["machines"], width=120), screen(120)) == WIDE.splitlines()


def test_machines_on_a_narrow_terminal(lab: Lab) -> None:
    """Loader and root make room; who, where and how long are never cut."""
    lab.boot_bios()
    assert lines(machines_table(lab.report()["machines"], width=80), screen(80)) == NARROW.splitlines()


def test_machines_on_a_middling_terminal(lab: Lab) -> None:
    """The root is worth more than the loader."""
    lab.boot_bios()
    text = "\n".join(lines(machines_table(lab.report()["machines"], width=90), screen(90)))
    assert "nbd bookw" in text
    assert "loader" not in text


@pytest.mark.parametrize("width", range(76, 140))
def test_rows_never_wrap_and_fixed_columns_are_whole(lab: Lab, width: int) -> None:
    """At any width from 76 columns on."""
    lab.boot_bios()
    shown = lines(machines_table(lab.report()["machines"], width=width), screen(width))
    assert len(shown) == 2
    assert all(
        word in shown[1] for word in ("52:54:00:77:00:01 ", "10.77.0.51 ", "root connected ", "1 m 15 s", "8.4 MB")
    )


def test_what_waits_too_long_is_yellow(lab: Lab) -> None:
    """The others are not."""
    lab.reach(1, Stage.OFFERED, pause=30)
    lab.reach(2, Stage.OFFERED)
    assert [str(row.style) for row in machines_table(lab.report()["machines"]).rows] == ["yellow", "None"]


def test_further_addresses_are_counted(lab: Lab) -> None:
    """The newest one is shown."""
    mac = lab.reach(1, Stage.KERNEL)
    lab.timeline.seen(mac, "10.77.0.99")
    assert "10.77.0.99 +1 " in lines(machines_table(lab.report()["machines"]), screen(100))[1]


def test_a_machine_without_a_mac_says_so(lab: Lab) -> None:
    """It is named by its address."""
    lab.timeline.note(Stage.KERNEL, address="10.77.0.50")
    assert lines(machines_table(lab.report()["machines"]), screen(100))[1].startswith("not known yet  10.77.0.50 ")


def test_file_names_are_no_markup(lab: Lab) -> None:
    """A client can't paint the operator's screen by what it asks for."""
    lab.timeline.note(Stage.LOADER, mac="52:54:00:77:00:01", detail="[red]x[/red]", size=1)
    assert "[red]x[/red]" in "\n".join(lines(machines_table(lab.report()["machines"]), screen(100)))


def test_one_machines_timeline(lab: Lab) -> None:
    """Who it is, each step, and where it stands."""
    machine = lab.timeline.find(lab.boot_bios())
    assert machine is not None
    assert lines(machine_view(report_history(machine, lab.now)), screen(80)) == TIMELINE.splitlines()


def test_earlier_boots_are_a_line_each(lab: Lab) -> None:
    """The latest first; the hint of a machine that waits stands before them."""
    for _ in range(3):
        mac = lab.reach(1, Stage.DISCOVERED, Stage.OFFERED, Stage.LOADER, pause=2)
    lab.now += 60
    machine = lab.timeline.find(mac)
    assert machine is not None
    shown = lines(machine_view(report_history(machine, lab.now)), screen(200))
    assert shown[-3].startswith("loaded its boot program, but asked for no configuration")
    assert [line.partition(": ")[2] for line in shown[-2:]] == ["loader after 4.0 s"] * 2
    assert shown[-2] > shown[-1]  # by date


def test_what_had_a_say_in_the_offer(lab: Lab) -> None:
    """Below who it is."""
    machine = lab.timeline.find(lab.reach(1, Stage.OFFERED))
    assert machine is not None
    machine.flow, machine.quirk = "menu", "realtek-uefi"
    assert lines(machine_view(report_history(machine, lab.now)), screen(80))[1] == "quirk realtek-uefi: flow menu"


def test_a_machine_that_only_gave_a_sign_of_life(lab: Lab) -> None:
    """Its name is all there is to say."""
    machine = lab.timeline.seen("52:54:00:77:00:01", create=True)
    assert machine is not None
    assert lines(machine_view(report_history(machine, lab.now)), screen(80)) == ["52:54:00:77:00:01"]


def test_a_count_without_a_name_stands_alone(lab: Lab) -> None:
    """No blank before it."""
    machine = lab.timeline.find(lab.reach(1, Stage.OFFERED, Stage.OFFERED))
    assert machine is not None
    boot = report_history(machine, lab.now)["boots"][0]
    assert lines(timeline_table(boot), screen(60))[1] == "offered  +0.00 s               (x2)"


class TestOverview:
    """Table, hints and summary together."""

    def test_no_machines(self, lab: Lab) -> None:
        """Says so in words."""
        assert lines(machines_view(lab.report(), screen(80)), screen(80)) == ["no machine has asked to boot yet"]

    def test_machines_that_wait_for_the_same_share_a_hint(self, lab: Lab) -> None:
        """A classroom that waits is one paragraph; the summary counts it."""
        for number in range(5):
            lab.reach(number, Stage.OFFERED)
        lab.now += 30
        lab.reach(9, Stage.ROOT_CONNECTED)
        shown = lines(machines_view(lab.report(), screen(400)), screen(400))
        assert shown[7].startswith("52:54:00:77:00:00, 52:54:00:77:00:01, 52:54:00:77:00:02 and 2 more: offered, but")
        assert shown[8] == "6 machines: 1 root connected, 5 offered, 5 overdue"

    @pytest.mark.parametrize("height", range(5, 60))
    def test_a_bounded_view_fits_the_terminal(self, lab: Lab, height: int) -> None:
        """With 40 machines, some of which wait, at any height."""
        self.fill(lab)
        console = screen(80)
        assert len(lines(machines_view(lab.report(), console, height=height), console)) <= height

    def test_what_waits_stays_in_sight_in_its_usual_order(self, lab: Lab) -> None:
        """Then what is on its way, then what has its root since the shortest time."""
        self.fill(lab)
        console, height = screen(80), 18
        shown = lines(machines_view(lab.report(), console, height=height), console)
        assert [line[15:17] for line in shown[1:] if line.startswith("52:54") and "," not in line] == [
            *("00", "01", "02"),
            *("1f", "20", "21", "22", "23", "24", "25", "26", "27"),
        ]
        assert shown[-1] == "40 machines (28 not shown): 37 root connected, 1 kernel, 2 offered, 2 overdue"

    def test_all_are_shown_where_there_is_no_bound(self, lab: Lab) -> None:
        """Printed once, the terminal scrolls."""
        self.fill(lab)
        assert (
            sum(line.startswith("52:54") for line in lines(machines_view(lab.report(), screen(80, 5)), screen(80)))
            == 41
        )

    def fill(self, lab: Lab) -> None:
        """Two that wait, one on its way, 37 with their roots."""
        lab.reach(0, Stage.OFFERED)
        lab.reach(1, Stage.OFFERED)
        lab.now += 25
        lab.reach(2, Stage.KERNEL, pause=0.0)
        for number in range(3, 40):
            lab.reach(number, Stage.ROOT_CONNECTED, pause=0.1)


def test_summary_counts_the_furthest_first(lab: Lab) -> None:
    """And the one machine is one."""
    lab.reach(1, Stage.KERNEL)
    assert summarize(lab.report()["machines"]) == "1 machine: 1 kernel"
    lab.reach(2, Stage.ROOT_BUSY)
    lab.timeline.seen("52:54:00:77:00:03", create=True)
    assert summarize(lab.report()["machines"]) == "3 machines: 1 root busy, 1 kernel, 1 seen"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (10, "10 s"),
        (59.9, "59 s"),
        (60, "1 m 0 s"),
        (3599, "59 m 59 s"),
        (3600, "1 h 0 m"),
        (86_399, "23 h 59 m"),
        (86_400, "1 d 0 h"),
        (1e7, "115 d 17 h"),
    ],
)
def test_durations_are_short(seconds: float, text: str) -> None:
    """Two units at most."""
    assert describe_seconds(seconds) == text


@pytest.mark.parametrize(("size", "text"), [(0, ""), (1, "1 byte"), (1_500, "1.5 kB"), (131_072_000, "131.1 MB")])
def test_sizes_are_short(size: int, text: str) -> None:
    """Nothing is blank: most steps move no bytes."""
    assert describe_bytes(size) == text


def image(name: str, hashed: int = 0, sha256: str | None = None, changed: str | None = None) -> ImageReport:
    """An image of a thousand bytes."""
    return {
        "name": name,
        "format": "squashfs",
        "bytes": 1000,
        "target": "e0.1",
        "hashed": hashed,
        "md5": sha256,
        "sha256": sha256,
        "changed": changed,
    }


def test_notes_on_the_appliance_are_shown(lab: Lab) -> None:
    """A line each, above the summary."""
    report: MachinesReport = {**lab.report(), "notes": ["UDP port 67 is left to dnsmasq (pid 812)"]}
    assert lines(machines_view(report, screen(80)), screen(80))[-2] == "UDP port 67 is left to dnsmasq (pid 812)"


def test_images_that_are_as_they_should_be_are_not_spoken_of(lab: Lab) -> None:
    """Nor those whose turn has not come."""
    lab.images = [image("a", sha256="x"), image("b")]
    console = screen(100)
    assert lines(machines_view(lab.report(), console), console) == ["no machine has asked to boot yet"]


def test_checksums_in_the_making_are_shown(lab: Lab) -> None:
    """How far the present one is, and how many are still to come."""
    lab.images = [image("a", sha256="x"), image("b", hashed=450), image("c")]
    console = screen(100)
    assert lines(machines_view(lab.report(), console), console)[0] == "checksums of b: 45% of 1.0 kB, then of 1 more"


def test_a_wrong_checksum_is_shown_with_what_to_do(lab: Lab) -> None:
    """It is the operator's own file."""
    lab.images = [{**image("a", sha256="x"), "contradicted": ["image/a.md5"]}]
    console = screen(200)
    first = lines(machines_view(lab.report(), console), console)[0]
    assert first.startswith("image/a.md5 is not the checksum of a; copy the image again")


def test_a_changed_image_is_shown_with_what_to_do(lab: Lab) -> None:
    """Until it is as it was."""
    lab.images = [image("a", sha256="x", changed="replaced")]
    console = screen(200)
    assert lines(machines_view(lab.report(), console), console)[0].startswith("a: replaced; machines keep the file")
