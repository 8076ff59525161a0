# Which file system a device holds, told by its first bytes, and how it is mounted.

HEAD_BLOCKS=17   # of 4096 bytes: the last magic number, btrfs', is at 65600

# bytes_at OFFSET COUNT: of $RUN/head, in hex.
bytes_at() { dd if="$RUN/head" bs=1 skip="$1" count="$2" 2>> "$RUN/mount.log" | hexdump -v -e '1/1 "%02x"'; }

# read_head DEVICE: what its type is told by.
read_head() { dd if="$1" of="$RUN/head" bs=4096 count=$HEAD_BLOCKS 2>> "$RUN/mount.log"; }

# detect_filesystem DEVICE: its type into $filesystem; fails when it is none this client knows.
detect_filesystem() {
    read_head "$1" || return 1
    filesystem=
    case $(bytes_at 0 4) in
    68737173) filesystem=squashfs ;;
    58465342) filesystem=xfs ;;
    esac
    [ "$(bytes_at 1024 4)" != e2e1f5e0 ] || filesystem=erofs
    [ "$(bytes_at 1080 2)" != 53ef ] || filesystem=ext4
    [ "$(bytes_at 32769 5)" != 4344303031 ] || filesystem=iso9660
    [ "$(bytes_at 65600 8)" != 5f42485266535f4d ] || filesystem=btrfs
    [ -n "$filesystem" ]
}

# mount_readonly DEVICE FOLDER: nothing is written to the device, not even to replay a journal: others may be reading
# it.
mount_readonly() {
    local options=ro
    case $filesystem in
    ext4) options=ro,noload ;;
    xfs) options=ro,norecovery,nouuid ;;
    btrfs) options=ro,rescue=nologreplay ;;
    esac
    mount -t "$filesystem" -o "$options" "$1" "$2" 2>> "$RUN/mount.log"
}

# mount_overlay: the read-only root at /lower below the changes at /upper, together at /root.
mount_overlay() {
    modprobe overlay
    mount_lower && mount_upper || return 1
    mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work rootwire /root 2>> "$RUN/mount.log"
}

# wants_overlay: UNIONFS_CONFIG=RW,RO,TYPE asks for one, and so does a file system that can't be written at all.
wants_overlay() {
    local type
    if [ -z "$config_unionfs" ]; then
        case $filesystem in
        squashfs | iso9660 | erofs) say "$filesystem can't be written: an overlay in memory goes over it" && return 0 ;;
        esac
        return 1
    fi
    nth_field 3 , "$config_unionfs"
    case $field in
    overlay | unionfs) ;;
    overlayfs) say 'UNIONFS_CONFIG: overlayfs is not a type for KIWI; taken as overlay' ;;
    *) fail "UNIONFS_CONFIG=$(show "$config_unionfs") has an unknown type: write tmpfs,${root_mode},overlay" ;;
    esac
}

# mount_lower: the root that nobody writes to.
mount_lower() {
    if [ "$root_mode" = nfs ]; then
        mount_nfs ro /lower
    else
        mount_readonly "$root_device" /lower
    fi
}

# choose_write: which device takes the changes; a remote root's own key has said so already. UNIONFS_CONFIG's first
# field is one only for roots in memory, on disks or on NFS, as in KIWI.
choose_write() {
    [ -z "$config_ramonly" ] || { write_device= && return; }
    case $root_mode in
    nbd | aoe) return ;;
    esac
    nth_field 1 , "$config_unionfs"
    case $field in
    '' | tmpfs | nfs | /dev/ram*) return ;;
    esac
    is_device "$field" || fail "UNIONFS_CONFIG=$(show "$config_unionfs"): $(show "$field") is no device: write tmpfs"
    write_device=$field
    open_local_write UNIONFS_CONFIG
}

# load_filesystem: what $root_device holds, and the kernel's driver for it.
load_filesystem() {
    local module
    detect_filesystem "$root_device" ||
        fail "$root_device holds no file system this client knows (it begins with $(bytes_at 0 16)):" \
            "serve a squashfs, erofs, ext4 or iso9660 image"
    module=$filesystem
    [ "$filesystem" != iso9660 ] || module=isofs
    case $filesystem in
    xfs | btrfs) require_extra "$filesystem" ;;
    esac
    modprobe "$module" || fail "this client has no $filesystem: serve a squashfs, erofs, ext4 or iso9660 image"
}

# try_mount_root: as the configuration and the kernel command line have it.
try_mount_root() {
    [ "$root_mode" = nfs ] && filesystem=nfs || load_filesystem
    if wants_overlay; then
        choose_write
        mount_overlay
    elif [ "$root_mode" = nfs ]; then
        mount_nfs rw /root
    elif [ "${root_access:-$default_access}" = rw ]; then
        mount -t "$filesystem" "$root_device" /root 2>> "$RUN/mount.log"
    else
        mount_readonly "$root_device" /root
    fi
}

# mount_root: unless it was mounted to see what is on it.
mount_root() {
    grep -q '^[^ ]* /root ' /proc/mounts || try_mount_root ||
        fail "the $filesystem on $root_device can't be mounted" \
            "($(show "$(tail -n 1 "$RUN/mount.log")")): check the image"
    clock
    say "ROOT-MOUNTED mode=$root_mode uptime=$((now / 100)).$((now / 10 % 10))"
}
