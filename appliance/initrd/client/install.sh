# What is done on a disk's root once it is mounted: its other partitions, the kernel for its boot loader, and the marks
# by which the next boot knows what is installed.

# use_partitions: swap is used, folders are mounted; a partition that was just made gets its file system.
use_partitions() {
    local number size type mount device
    while read -r number size type mount; do
        part_device "$number"
        # The types of a mirror's parts don't say which is swap: KIWI's examples have it first, without a folder.
        if [ "$type" = 82 ] || { [ "$type" = fd ] && [ "$number" = 1 ] && [ "$mount" = x ]; }; then
            use_swap "$device"
        elif [ "$mount" != x ] && [ "$mount" != / ]; then
            grep -qF "$device " "$RUN/images" || prepare_filesystem "$device" "rootwire-$number"
            detect_filesystem "$device" && modprobe "$filesystem" && mkdir -p "/root$mount" &&
                mount -t "$filesystem" "$device" "/root$mount" 2>> "$RUN/mount.log" ||
                fail "$device can't be mounted on $mount ($(show "$(tail -n 1 "$RUN/mount.log")")): check the disk"
            [ ! -s "$RUN/stale" ] || keep_mount "$device" "$mount"
        fi
    done < "$RUN/parts"
}

# keep_mount DEVICE FOLDER: in the root's fstab, unless the image has a line for it.
keep_mount() {
    grep -qE "^[^#]+[[:space:]]$2[[:space:]]" /root/etc/fstab 2>> "$RUN/disk.log" ||
        printf '%s %s %s defaults 0 2\n' "$1" "$2" "$filesystem" >> /root/etc/fstab
}

# grow_filesystems: images are smaller than the partitions made for them; ext4 grows while it is mounted.
grow_filesystems() {
    local device folder type rest name sum
    while read -r device name sum; do
        while read -r mounted folder type rest; do
            [ "$mounted $type" != "$device ext4" ] || resize2fs "$device" > "$RUN/disk.log" 2>&1 ||
                say "$device can't be grown ($(show "$(tail -n 1 "$RUN/disk.log")")): it stays as big as its image"
        done < /proc/mounts
    done < "$RUN/stale"
}

# fetch_boot_file KEY PATH FILE
fetch_boot_file() {
    is_name "${2#/}" || fail "$1=$(show "$2") is no path: write /boot/NAME"
    mkdir -p "$ROOT/boot"
    fetch_patiently fetch_file "${2#/}" "$3" || fail "$1: ${2#/} is not on $from: put it there"
    say "${3#"$ROOT"} from $from"
}

# install_kernel: the initramfs first, as in KIWI.
install_kernel() {
    local entry=$ROOT/boot/loader/entries/kiwi.conf
    [ -z "$config_initrd" ] || fetch_boot_file KIWI_INITRD "$config_initrd" "$ROOT/boot/initrd.kiwi"
    [ -n "$config_kernel" ] || return 0
    fetch_boot_file KIWI_KERNEL "$config_kernel" "$ROOT/boot/linux.kiwi"
    mkdir -p "${entry%/*}"
    printf 'title %s\nlinux /boot/linux.kiwi\n' "${root_image#image/}" > "$entry"
    [ -z "$config_initrd" ] || echo 'initrd /boot/initrd.kiwi' >> "$entry"
    printf 'options root=%s %s\n' "$root_device" "$config_kernel_options" >> "$entry"
    ! is_number "$config_timeout" || printf 'timeout %s\n' "$config_timeout" > "$ROOT/boot/loader/loader.conf"
}

# mark_installed: last, so that an install that was cut short is done again.
mark_installed() {
    local device name sum
    mkdir -p "$ROOT/etc"
    sync
    while read -r device name sum; do
        printf '%s %s\n' "$name" "$sum" > "$ROOT/etc/ImageVersion-$name" ||
            fail "the root on $root_device is read-only"
    done < "$RUN/stale"
    sync
}

# leave_if_asked: unlike KIWI's client only after an install, or the machine would never get past it.
leave_if_asked() {
    if [ -n "$config_shutdown" ]; then
        say 'installed: powering off, as kiwi_oemshutdown says'
        poweroff -f
    elif [ -n "$config_reboot" ]; then
        say 'installed: rebooting, as REBOOT_IMAGE says'
        reboot -f
    fi
}

# finish_disk: nothing more for a disk that is up to date.
finish_disk() {
    [ -s "$RUN/stale" ] || return 0
    grow_filesystems
    install_kernel
    mark_installed
    leave_if_asked
}
