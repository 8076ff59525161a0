# RAID=1;/dev/sda;/dev/sdb: each entry of PART on both disks, mirrored as md0, md1, ... in their order.

export MDADM_NO_UDEV=1 # nobody here makes device nodes but the kernel

# parse_raid VALUE: the disks into $raid_disks. DISK needs not be given as well: the first of them is meant.
parse_raid() {
    local number=2
    nth_field 1 ';' "$1"
    [ "$field" = 1 ] || fail "RAID=$(show "$1"): only level 1 is known: write 1;/dev/sda;/dev/sdb"
    raid_disks=
    while nth_field $number ';' "${1%,}" && [ -n "$field" ]; do
        is_device "$field" || fail "RAID: $(show "$field") is no disk: write 1;/dev/sda;/dev/sdb"
        raid_disks="$raid_disks${raid_disks:+ }$field" number=$((number + 1))
    done
    [ $number -ge 4 ] || fail "RAID=$(show "$1") names fewer than two disks: write 1;/dev/sda;/dev/sdb"
    disk=${raid_disks%% *}
}

# raid_members NUMBER MISSING: that partition of each disk, MISSING for one that isn't there; into $members.
raid_members() {
    local name
    members=
    for name in $raid_disks; do
        partition_name "$name" "$1"
        [ -b "$partition" ] || partition=$2
        members="$members $partition"
    done
}

# run_mdadm WORD...
run_mdadm() { mdadm "$@" > "$RUN/disk.log" 2>&1; }

assemble_raid() {
    local number size type mount members
    modprobe raid1
    while read -r number size type mount; do
        part_device "$number"
        [ ! -b "$device" ] || continue
        raid_members "$number" ''
        run_mdadm --assemble --run "$device" $members && await_device "$device" || return 1
    done < "$RUN/parts"
}

create_raid() {
    local number size type mount members count
    modprobe raid1
    count=$(echo $raid_disks | wc -w)
    while read -r number size type mount; do
        part_device "$number"
        raid_members "$number" missing
        # Its superblock is at the end, so that a boot loader finds the file system where the partition begins.
        run_mdadm --create "$device" --run --level=1 --raid-devices="$count" --metadata=0.90 $members &&
            await_device "$device" ||
            fail "$device can't be made of$members ($(show "$(tail -n 1 "$RUN/disk.log")")): check the disks"
        dd if=/dev/zero of="$device" bs=4096 count=$HEAD_BLOCKS 2>> "$RUN/disk.log"
    done < "$RUN/parts"
}
