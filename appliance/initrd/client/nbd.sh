# NBDROOT: the root on a network block device.

NBD_RETRY_SECONDS='1 2 4 8 15'   # a server that is starting gets half a minute
NBD_READY_SECONDS=5              # from the handshake to the kernel's device: milliseconds on any machine
# The smallest block size: the kernel cuts a device to whole blocks, so 4096 could cut off the end of a squashfs that
# was made without padding; squashfs itself only needs 1024, and reads are merged to the same size whatever it is.
NBD_BLOCK_SIZE=512

# parse_nbdroot VALUE: SERVER;EXPORT;DEVICE;SWAPEXPORT;SWAPDEVICE;WRITEEXPORT;WRITEDEVICE. Empty fields keep their
# place.
parse_nbdroot() {
    nth_field 1 ';' "$1" && nbd_server=${field:-${server%%:*}}
    nth_field 2 ';' "$1" && nbd_export=$field
    nth_field 3 ';' "$1" && root_device=${field:-/dev/nbd0}
    is_host "$nbd_server" && is_name "$nbd_export" ||
        fail "NBDROOT=$(show "$1") names no server or export: write SERVER;EXPORT;/dev/nbd0"
    case $root_device in
    /dev/nbd*[!0-9]* | /dev/nbd) fail "NBDROOT: $(show "$root_device") is no NBD device: write /dev/nbd0" ;;
    /dev/nbd*) ;;
    *) fail "NBDROOT: $(show "$root_device") is no NBD device: write /dev/nbd0" ;;
    esac
    nth_field 4 ';' "$1"
    [ -z "$field" ] || say 'NBDROOT: swap over NBD comes later: going on without'
    nth_field 6 ';' "$1"
    [ -z "$field" ] || say 'NBDROOT: a write export comes later: changes stay in memory'
}

# nbd_is_ready: the kernel has the socket (its "pid" file is there then) and a size.
nbd_is_ready() {
    local block=/sys/block/${root_device#/dev/} size try
    for try in $(seq $((NBD_READY_SECONDS * 10))); do
        [ -e "$block/pid" ] && read -r size < "$block/size" && [ "$size" -gt 0 ] && return 0
        sleep 0.1
    done
    return 1
}

# connect_nbd: nbd-client hands the socket to the kernel by netlink and leaves, so there is no process that
# switch_root or a shutdown could kill. Versions that stay to reconnect (-persist) get the mark that tells systemd in
# the new root to let them live. Debian 12's does not reconnect, by netlink or by ioctl (-nonetlink): measured on
# Linux 6.1, a server that restarts is a dead root.
connect_nbd() {
    /bin/nbd-client "$nbd_server" "$root_device" -name "$nbd_export" -block-size $NBD_BLOCK_SIZE \
        -persist -systemd-mark > "$RUN/nbd.log" 2>&1 && nbd_is_ready
}

open_nbd() {
    local seconds reason
    parse_nbdroot "$config_nbdroot"
    modprobe nbd
    for seconds in $NBD_RETRY_SECONDS 0; do
        if connect_nbd; then
            say "root nbd $nbd_server export $nbd_export"
            return
        fi
        reason="no NBD export $nbd_export from $nbd_server ($(show "$(tail -n 1 "$RUN/nbd.log")"))"
        say "$reason: trying again in $seconds s"
        sleep "$seconds"
    done
    fail "$reason: check the server"
}
