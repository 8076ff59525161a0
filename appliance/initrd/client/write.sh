# Where a machine's changes go: memory, or a device of its own; and swap.
#
# A device that holds a file system is used as it is: what was written at the last boot is there again. One that is
# blank (its first 68 KiB are zeros) gets ext4. Anything else is left alone and ends the boot: KIWI's client formats
# whatever it can't mount, and so a disk whose driver came late, or another machine's export, loses what it holds.
# With RELOAD_IMAGE=yes the device is formatted at every boot, as in KIWI.

WRITE_LABEL=rootwire-write

# is_blank: the head that detect_filesystem or read_head took is all zeros.
is_blank() { [ "$(tr -d '\0' < "$RUN/head" | wc -c)" -eq 0 ]; }

# format DEVICE LABEL: nodiscard, as blank space on a server is sparse already; tables are zeroed by the kernel later.
format() {
    require_tool mkfs.ext4 "$1, which is blank," e2fsprogs
    say "$1 is formatted with ext4"
    mkfs.ext4 -q -F -L "$2" -E nodiscard,lazy_itable_init=1,lazy_journal_init=1 "$1" > "$RUN/format.log" 2>&1 ||
        fail "$1 can't be formatted ($(show "$(tail -n 1 "$RUN/format.log")")): check that it may be written"
}

# prepare_filesystem DEVICE LABEL: leaves its type in $filesystem.
prepare_filesystem() {
    if ! detect_filesystem "$1"; then
        is_blank || fail "$1 holds no file system and isn't blank (it begins with $(bytes_at 0 16)):" \
            "clear its first 68 KiB if nothing on it is needed"
        format "$1" "$2"
        filesystem=ext4
    fi
}

# mount_upper: the layer of changes at /upper.
mount_upper() {
    if [ -z "$write_device" ]; then
        mount -t tmpfs -o mode=0755 rootwire /upper
    else
        [ "$config_reload_image" != yes ] || format "$write_device" $WRITE_LABEL
        prepare_filesystem "$write_device" $WRITE_LABEL
        modprobe "$filesystem" && mount -t "$filesystem" "$write_device" /upper 2>> "$RUN/mount.log" || return 1
        say "changes are kept on $write_device"
    fi && mkdir -p /upper/data /upper/work
}

# use_swap DEVICE: one that holds swap, or that is blank and gets it.
use_swap() {
    read_head "$1"
    if [ "$(bytes_at 4086 10)" != 53574150535041434532 ]; then # SWAPSPACE2
        is_blank || { say "$1 holds no swap and isn't blank: going on without" && return; }
        mkswap "$1" > "$RUN/format.log" 2>&1
    fi
    if swapon "$1" 2>> "$RUN/mount.log"; then
        say "swap on $1"
    else
        say "swap on $1 can't be used ($(show "$(tail -n 1 "$RUN/mount.log")")): going on without"
    fi
}
