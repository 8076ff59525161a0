# IMAGE into memory: the root is mounted from there, and the server may go away afterwards.

MEMORY_RESERVE_KIB=65536             # left for the system beside the image: less ends in the kernel killing processes

# read_memory WHICH: MemTotal or MemAvailable, in KiB, into $memory.
read_memory() {
    local key unit
    while read -r key memory unit; do
        [ "$key" != "$1:" ] || return 0
    done < /proc/meminfo
}

# check_memory: fail before the download rather than in the middle of it.
check_memory() {
    local need memory
    need=$((image_size / 1024 + MEMORY_RESERVE_KIB))
    read_memory MemAvailable
    [ "$memory" -ge "$need" ] ||
        fail "$image_path needs $((need / 1024)) MiB of memory, $((memory / 1024)) MiB are free:" \
            "use a bigger machine or root over NBD or AoE"
}

# place_in_memory: a file system in memory of the image's size, for the file $target.
place_in_memory() {
    target=/image/root
    umount /image 2>> "$RUN/mount.log" # what an earlier attempt left there
    check_memory
    mount -t tmpfs -o "size=$((image_size + 1048576))" rootwire-image /image
}

# make_loop FILE: a device of exactly the image, into $loop.
make_loop() {
    truncate -s $(((image_size + 4095) / 4096 * 4096)) "$1" # a loop device ends at whole sectors
    loop=$(losetup -f) && losetup "$loop" "$1" || fail 'no loop device for the image in memory'
}

# open_ram: each entry becomes a loop device, to be found by the name its entry gives it as well.
open_ram() {
    local entries=$config_image entry
    modprobe loop
    while take_entry; do
        parse_image "$entry"
        image_version=
        case $image_device in
        /dev/ram*) ;;
        *) fail "IMAGE: $(show "$image_device") is no memory: all entries must go to memory, or all to disks" ;;
        esac
        fetch_image_patiently place_in_memory
        make_loop "$target"
        umount -l /image # the loop device holds the file; nothing else needs the name
        ln -sf "$loop" "$image_device"
        claim_root "$image_device" "$loop"
    done
    say "root ram $root_image"
    default_access=rw
}
