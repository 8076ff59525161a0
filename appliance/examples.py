"""What `--help` says of each command, with examples."""

SERVE_EXAMPLES = """
Serve the boot tree on one interface: ProxyDHCP, TFTP, HTTP, NBD and AoE, beside the DHCP server that the LAN has.
With [bold]pool[/] in [bold]\\[dhcp][/] it is the LAN's DHCP server itself, unless it hears another one.

A squashfs in [bold]image/[/] that holds a kernel is enough; with [bold]boot/linux[/] machines boot that instead.

[bold]Examples[/]

  sudo rootwire serve --interface eth0 --root /srv/netboot

  sudo rootwire serve --config /etc/rootwire.toml
"""

STATUS_EXAMPLES = """
Show where each machine is in its boot; with a MAC address or an IPv4 address, every step of that machine's boot.

[bold]Examples[/]

  rootwire status --watch

  rootwire status 52:54:00:77:00:01

  rootwire status --json | jq '.machines[] | select(.overdue) | .mac'
"""

INITRD_EXAMPLES = """
Make the client initramfs for a kernel: busybox, network drivers, nbd-client and rootwire's own init.

[bold]Examples[/]

  rootwire initrd --kernel linux-image-amd64 --output /srv/netboot/boot/initrd

  rootwire initrd --kernel linux-image-amd64 -o /srv/netboot/boot/initrd --extra /srv/netboot/boot/initrd.extra

  rootwire initrd --kernel / --output initrd          (the newest kernel installed here)

  rootwire initrd --kernel ./linux-image-6.1.0-42-amd64_6.1.159-1_amd64.deb --output initrd
"""

LS_EXAMPLES = """
List the files inside a squashfs image, in the order of their names.

With [bold]-R[/] everything below the folder is listed, a path a line. Odd names are escaped on a terminal only.

[bold]Examples[/]

  rootwire ls /srv/netboot/image/debian.x86_64-12 /boot

  rootwire ls -lR debian.squashfs /usr/lib/modules

  rootwire ls -R --json debian.squashfs | jq -r '.[] | select(.size > 1e7) | .path'
"""

CAT_EXAMPLES = """
Write a file from inside a squashfs image to standard output.

Symbolic links are followed inside the image only.

[bold]Examples[/]

  rootwire cat debian.squashfs /etc/os-release

  rootwire cat /srv/netboot/image/debian.x86_64-12 /vmlinuz > /srv/netboot/boot/linux

  rootwire cat debian.squashfs /boot/initrd.img --length 6 | xxd          (what is it compressed with?)
"""

HEAT_EXAMPLES = """
Show what machines read of their root while they booted, file by file, in order; with --sort-file, write that order.

IMAGE is the name of a squashfs in image/; boots over NBD and AoE are recorded, for two minutes each.

[bold]Examples[/]

  rootwire heat debian.x86_64-12

  rootwire heat debian.x86_64-12 --client 52:54:00:77:00:01 --json | jq -r '.ranges[].names[]'

  rootwire heat debian.x86_64-12 --sort-file boot.sort && mksquashfs root debian.new -sort boot.sort
"""

MACHINES_EXAMPLES = """
List the machines whose KIWI client found no configuration and registered, and those that were enrolled.

One that waits asks again every minute: answer it with [bold]rootwire enroll[/].

[bold]Examples[/]

  rootwire machines

  rootwire machines --json | jq -r '.[] | select(.waiting) | .mac'
"""

LEASES_EXAMPLES = """
List the addresses that this appliance gave: to whom, until when, since when.

It gives some only where the configuration has a pool in [bold]\\[dhcp][/]. Times are this computer's.

[bold]Examples[/]

  rootwire leases

  rootwire leases --json | jq -r '.[] | select(.state == "bound") | .address + " " + .mac'

  rootwire leases --json | jq '.[] | select(.state == "declined") | .address'
"""

ENROLL_EXAMPLES = """
Have a machine belong to a group: [bold]\\[kiwi.groups.NAME][/] in the configuration, or KIWI/config.NAME in the tree.

A client that waits is told when it asks next, within a minute. Without --group the machine belongs to none again.

[bold]Examples[/]

  rootwire enroll 52:54:00:A1:B2:C3 --group tills

  rootwire machines --json | jq -r '.[] | select(.waiting) | .mac' | xargs -n1 rootwire enroll --group tills
"""

EXPLAIN_EXAMPLES = """
Say what a machine would be offered at this moment, and why: quirk, flow, loader, menu, KIWI configuration, root.

It is told as the machine last asked; --arch says what other firmware in its place would get.

[bold]Examples[/]

  rootwire explain 52:54:00:a1:b2:c3

  rootwire explain 52:54:00:a1:b2:c3 --arch arm64

  rootwire explain 4c4c4544-0042-3510-8053-b3c04f393233 --json | jq -r '.offers[].boot_file'
"""

CHECK_EXAMPLES = """
Look for traps of KIWI's netboot in a boot tree or a configuration, rootwire's own too: what a client does, the mend.

Exits with 1 where an error was found: what has one is not served. Warnings are served, mended where it says so.

[bold]Examples[/]

  rootwire check /srv/netboot

  rootwire check /srv/netboot/KIWI/config.52:54:00:A1:B2:C3

  rootwire check /etc/rootwire.toml

  rootwire check --json /srv/netboot | jq -r '.[] | select(.level == "error") | .path'
"""

CONVERT_EXAMPLES = """
Write the KIWI configurations of a boot tree as tables of rootwire's own configuration, on standard output.

Every machine is told the same by the tables as by the files, its group and its hardware map included.

A file of which something can't be read is left out whole, and so is what goes by address: each in one line, with why.

Exits with 1 where something was left out.

[bold]Examples[/]

  rootwire convert /srv/netboot >> /etc/rootwire.toml

  rootwire convert /srv/netboot 2>&1 >/dev/null | grep 'left out'

  rootwire convert --json /srv/netboot | jq '.kiwi.machines | keys'
"""

DOCTOR_EXAMPLES = """
Look at this box and its network for what keeps machines from booting, and say what to do about each.

It asks the network which DHCP servers it has, by a DISCOVER of its own, and reads the firewall's rules: run it as root.
It changes nothing. Beside a rootwire that runs it finds that one's ports taken by it, which is as it must be.

Exits with 1 where an error was found.

[bold]Examples[/]

  sudo rootwire doctor --interface eth0 --root /srv/netboot

  sudo rootwire doctor /etc/rootwire.toml

  sudo rootwire doctor --json /etc/rootwire.toml | jq -r '.[] | select(.level != "ok") | .remedy'
"""

EXPORTS_EXAMPLES = """
List what machines write to: each one's disks, how full they are, and who has them open.

What they get is said in the configuration: write, write_size, write_quota, write_base and swap_size.

[bold]Examples[/]

  rootwire exports

  rootwire exports --json | jq -r '.[] | select(.used > 1e9) | .machine'

  rootwire exports reset 52:54:00:a1:b2:c3

  rootwire exports delete rw-525400A1B2C3 --force
"""

SHOW_EXAMPLES = """
Show a squashfs image on one page: how it is packed, what it holds, and how it boots when it is dropped into image/.

A rule file beside it, IMAGE.toml, is heeded.

[bold]Examples[/]

  rootwire show /srv/netboot/image/debian.x86_64-12

  rootwire show --json debian.squashfs | jq .boots
"""

IMPORT_EXAMPLES = """
Take what KIWI builds into a boot tree: a kis or pxe tarball, the files it holds (or their folder), an OEM install
tarball, a live ISO. Checksums that come with it are verified; it is there whole, or not at all.

A root image boots at once; what installs a disk, and a medium, are started only by who chooses them.

[bold]Examples[/]

  sudo rootwire import edge.x86_64-1.2.0.tar.xz

  sudo rootwire import --root /srv/netboot ./image-folder --name edge.x86_64-1.2.0 --root-over aoe

  sudo rootwire import edge.x86_64-1.2.0 edge.x86_64-1.2.0.initrd edge.x86_64-1.2.0-6.1.0.kernel

  sudo rootwire import desk.x86_64-3.0.1.install.tar --force --json | jq .files
"""
