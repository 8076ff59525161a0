# DISK: a root on the machine's own disk, installed from IMAGE when the disk has another table, another image or none.
#
# The next boot is by network again: the configuration is read, the checksums are compared, and what is on the disk
# boots as it is. A boot loader of the disk is left to the image: the kernel and initramfs of KIWI_KERNEL and KIWI_INITRD
# are put into its /boot with an entry as of the Boot Loader Specification, which has KIWI_KERNEL_OPTIONS.

# is_diskful: whether the root is on a disk, as KIWI tells it.
is_diskful() {
    local entries=$config_image entry
    [ -z "$config_disk$config_raid" ] || return 0
    take_entry || return 1
    case $entry in
    /dev/ram*) return 1 ;;
    esac
}

# find_disks: their drivers, and the disks themselves; of a mirror one may be missing.
find_disks() {
    local name found=
    disk=$config_disk
    [ -z "$config_raid" ] || parse_raid "$config_raid"
    [ -z "$disk" ] || is_device "$disk" || fail "DISK=$(show "$disk") is no disk: write /dev/sda"
    require_extra DISK
    for name in ${raid_disks:-$disk}; do
        if await_device "$name"; then
            found="$found $name"
        else
            say "there is no disk $name in this machine"
        fi
    done
    present_disks=$found
    [ -n "$found" ] || [ -z "$disk" ] || fail "no disk to install to: check DISK and RAID, and the disk's driver"
}

# survey_images: "DEVICE NAME SUM" for each entry, as the server has them, into $RUN/images.
survey_images() {
    local entries=$config_image entry seconds
    : > "$RUN/images"
    while take_entry; do
        parse_image "$entry"
        for seconds in $FETCH_RETRY_SECONDS 0; do
            ! learn_image || { [ -z "$image_version" ] && ! learn_sha256; } || break
            [ "$seconds" -ne 0 ] || fail "$reason: check the server"
            say "$reason: asking again in $seconds s"
            sleep "$seconds"
        done
        printf '%s %s %s\n' "$image_device" "$image_name" "$image_version" >> "$RUN/images"
        claim_root "$image_device" "$image_device"
    done
    [ -n "$root_device" ] || fail "$config_name has DISK, but no IMAGE: add one"
}

tables_match() {
    local name
    [ -n "$config_part" ] || return 0
    for name in $present_disks; do
        table_matches "$name" || return 1
    done
}

make_tables() {
    local name
    for name in $present_disks; do make_table "$name"; done
    [ -z "$config_raid" ] || create_raid
}

# is_current NAME SUM: whether that image is the one on the disk, whose root is mounted.
is_current() {
    local installed
    [ -z "$config_reload_image" ] && read -r installed 2>> "$RUN/disk.log" < "$ROOT/etc/ImageVersion-$1" &&
        [ "$installed" = "$1 $2" ]
}

# find_stale: which images aren't on the disk as the server has them, into $RUN/stale. When none is, the root stays
# mounted.
find_stale() {
    local device name sum
    cp "$RUN/images" "$RUN/stale"
    [ -z "$config_raid" ] || assemble_raid || return 0
    await_device "$root_device" && detect_filesystem "$root_device" && try_mount_root || return 0
    while read -r device name sum; do
        is_current "$name" "$sum" || printf '%s %s %s\n' "$device" "$name" "$sum"
    done < "$RUN/images" > "$RUN/stale"
    [ -s "$RUN/stale" ] || return 0
    umount /root
    umount /upper /lower 2>> "$RUN/disk.log"
}

# place_on_disk: the image's device must have room for it.
place_on_disk() {
    local sectors
    target=$image_device
    await_device "$target" || fail "IMAGE: there is no $target: check DISK, PART and RAID"
    read -r sectors < "/sys/class/block/${target#/dev/}/size"
    [ $((sectors * 512)) -ge "$image_size" ] ||
        fail "$image_path has $((image_size / 1048576)) MiB, $target $((sectors / 2048)): make it bigger in PART"
}

install_images() {
    local entries=$config_image entry
    while take_entry; do
        parse_image "$entry"
        grep -qF "$image_device $image_name " "$RUN/stale" || continue
        image_version=
        fetch_image_patiently place_on_disk
    done
}

# open_disk: $RUN/stale is left with what was installed, which is nothing for a disk that is up to date.
open_disk() {
    default_access=rw
    find_disks
    [ -z "$config_raid" ] || require_tool mdadm RAID mdadm
    [ -z "$config_part" ] || parse_part "$config_part"
    survey_images
    if tables_match; then
        find_stale
    else
        make_tables
        cp "$RUN/images" "$RUN/stale"
    fi
    if [ -s "$RUN/stale" ]; then
        install_images
    else
        say "the disk is up to date: no image is loaded"
    fi
    say "root disk $root_device, $root_image"
}
