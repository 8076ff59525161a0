#!/bin/busybox sh
# init of rootwire's client: from the kernel to the root that the boot server names for this machine.
#
# It speaks the server's side of KIWI's PXE contract: DHCP, the configuration look-up, then IMAGE, NBDROOT or AOEROOT
# with UNIONFS_CONFIG. What differs from KIWI's own client, and why:
# - configuration and kernel command line are data: never sourced, never evaluated; other lines are named and left out
# - empty fields keep their place in every list, so that SERVER;EXPORT;;;;WRITE means what it says
# - IMAGE goes into memory made to its size instead of /dev/ram1, so ramdisk_size= is not needed
# - every retry is bounded and ends in one line that says why, then a reboot; nothing loops or hangs for ever
# - TFTP block sizes are not raised for big images: block numbers wrap at 65535, and large blocks die with each lost
# fragment
# - the server is kiwiserver=, else ip='s second field, else DHCP's: no ping, no look-up of tftp.<domain>
# - a read-only file system gets an overlay in memory even without UNIONFS_CONFIG
# - a machine nobody has a configuration for registers, asks for an hour, then begins anew
# - every hardware map that lists the machine counts, not only the first of HARDWARE_MAP
# - ERROR_INTERRUPT ends the boot with its text; there is a shell only with rootwire.debug
# - a swap export is used below 62 MiB of memory, as in KIWI, and with rootwire.swap on the kernel's command line
#   whatever the memory; one that is blank gets its signature
# - a device for changes is formatted only when it is blank, or RELOAD_IMAGE is yes; see write.sh
# - sha256 is verified where it is offered, in place of md5; md5 is asked for once, not two or three times
# - of several images the root is the one that UNIONFS_CONFIG or PART calls so, else the last, as in KIWI
# - letters and numbers name the same types in PART, sizes may have units, tables are GPT where MBR won't do
# - RAID without DISK works, a missing disk of a mirror is said, and what doesn't fit a disk isn't written to it
# - a CONF file that the server hasn't leaves the installed one alone; KIWI's client empties it
# - REBOOT_IMAGE and kiwi_oemshutdown count after an install only
# - no boot loader is installed on a disk; see disk.sh. Only ext4 is grown to its partition
# Left out: LUKS, LVM, multipath, s390's disks, local boot (IMAGE=local), ftp, https, DNS of tftp.<domain>.

set -u
export PATH=/bin:/sbin
IFS=' 	
'
LIB=/lib/rootwire
RUN=/run/rootwire

LIBRARIES='console state values cmdline config keys groups network fetch register lookup
    extra filesystem write image ram nbd aoe nfs part raid disk install conf handover'
for library in $LIBRARIES; do
    . "$LIB/$library.sh"
done

start_kernel_file_systems() {
    /bin/busybox --install -s /bin
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mount -t devtmpfs devtmpfs /dev
    mount -t tmpfs -o mode=0755,nosuid,nodev tmpfs /run
    mkdir "$RUN"
    echo "$REBOOT_SECONDS" > /proc/sys/kernel/panic # should this script itself die
}

# open_root: KIWI's order: disks and IMAGE come before the remote roots, and of those the last one, AoE, wins.
open_root() {
    if is_diskful; then
        root_mode=disk && open_disk
    elif [ -n "$config_image" ]; then
        root_mode=ram && open_ram
    elif [ -n "$config_aoeroot" ]; then
        root_mode=aoe && open_aoe
    elif [ -n "$config_nbdroot" ]; then
        root_mode=nbd && open_nbd
    elif [ -n "$config_nfsroot" ]; then
        root_mode=nfs && open_nfs
    else
        fail "$config_name has neither IMAGE, NBDROOT, AOEROOT nor NFSROOT: add one"
    fi
}

main() {
    start_kernel_file_systems
    trap 'fail "init ended before its time: this is a defect of rootwire"' EXIT
    parse_cmdline /proc/cmdline
    clock
    say "client on kernel $(uname -r), uptime $((now / 100)).$((now / 10 % 10))"
    start_network
    choose_server
    look_up_config
    read_config "$RUN/config" "$config_name"
    apply_hardware_maps "$machine_mac"
    apply_overwrites
    choose_server # the configuration may name another
    open_root
    mount_root
    [ -z "$part_count" ] || use_partitions
    sync_conf
    [ "$root_mode" != disk ] || finish_disk
    hand_over "$@"
}

main "$@"
