# NBDROOT: the root on a network block device, and the devices of their own that a machine swaps and writes to.

NBD_READY_SECONDS=5              # from the handshake to the kernel's device: milliseconds on any machine
# The smallest block size: the kernel cuts a device to whole blocks, so 4096 could cut off the end of a squashfs that
# was made without padding; squashfs itself only needs 1024, and reads are merged to the same size whatever it is.
NBD_BLOCK_SIZE=512
SWAP_BELOW_KIB=63488             # of memory, 62 MiB: KIWI's limit, below which a machine can't do without

# require_nbd_device NAME
require_nbd_device() {
    case $1 in
    /dev/nbd*[!0-9]* | /dev/nbd) fail "NBDROOT: $(show "$1") is no NBD device: write /dev/nbd0" ;;
    /dev/nbd*) ;;
    *) fail "NBDROOT: $(show "$1") is no NBD device: write /dev/nbd0" ;;
    esac
}

# parse_nbdroot VALUE: SERVER;EXPORT;DEVICE;SWAPEXPORT;SWAPDEVICE;WRITEEXPORT;WRITEDEVICE. Empty fields keep their
# place. A write device without an export is a disk's.
parse_nbdroot() {
    nth_field 1 ';' "$1" && nbd_server=${field:-${server%%:*}}
    nth_field 2 ';' "$1" && nbd_export=$field
    nth_field 3 ';' "$1" && root_device=${field:-/dev/nbd0}
    nth_field 4 ';' "$1" && nbd_swap_export=$field
    nth_field 5 ';' "$1" && nbd_swap_device=${field:-/dev/nbd1}
    nth_field 6 ';' "$1" && nbd_write_export=$field
    nth_field 7 ';' "$1" && write_device=$field
    is_host "$nbd_server" && is_name "$nbd_export" && is_name "${nbd_swap_export:-none}" &&
        is_name "${nbd_write_export:-none}" ||
        fail "NBDROOT=$(show "$1") names no server or export: write SERVER;EXPORT;/dev/nbd0"
    require_nbd_device "$root_device"
    require_nbd_device "$nbd_swap_device"
    [ -z "$nbd_write_export" ] || require_nbd_device "${write_device:=/dev/nbd2}"
    case $write_device in
    tmpfs | /dev/ram*) write_device= ;;
    '') ;;
    *) is_device "$write_device" || fail "NBDROOT: $(show "$write_device") is no device: write /dev/nbd2" ;;
    esac
}

# nbd_is_ready DEVICE: the kernel has the socket (its "pid" file is there then) and a size.
nbd_is_ready() {
    local block=/sys/block/${1#/dev/} size try
    for try in $(seq $((NBD_READY_SECONDS * 10))); do
        [ -e "$block/pid" ] && read -r size < "$block/size" && [ "$size" -gt 0 ] && return 0
        sleep 0.1
    done
    return 1
}

# connect_nbd EXPORT DEVICE: nbd-client hands the socket to the kernel by netlink and leaves, so there is no process
# that switch_root or a shutdown could kill. Versions that stay to reconnect (-persist) get the mark that tells systemd
# in the new root to let them live. Debian 12's does not reconnect, by netlink or by ioctl (-nonetlink): measured on
# Linux 6.1, a server that restarts is a dead root.
connect_nbd() {
    /bin/nbd-client "$nbd_server" "$2" -name "$1" -block-size $NBD_BLOCK_SIZE \
        -persist -systemd-mark > "$RUN/nbd.log" 2>&1 && nbd_is_ready "$2"
}

# connect_patiently WHAT EXPORT DEVICE
connect_patiently() {
    local seconds reason
    for seconds in $PATIENCE_SECONDS 0; do
        if connect_nbd "$2" "$3"; then
            say "$1 nbd $nbd_server export $2"
            return
        fi
        reason="no NBD export $2 from $nbd_server ($(show "$(tail -n 1 "$RUN/nbd.log")"))"
        [ "$seconds" -ne 0 ] || fail "$reason: check the server"
        say "$reason: trying again in $seconds s"
        sleep "$seconds"
    done
}

# is_to_swap: swap over a network is slow and may need memory to free some, so it is for machines that have too little.
is_to_swap() {
    local memory
    read_memory MemTotal
    [ -n "$nbd_swap_export" ] && { [ -n "$always_swap" ] || [ "$memory" -lt $SWAP_BELOW_KIB ]; }
}

# open_nbd: swap, changes, root: KIWI's order.
open_nbd() {
    parse_nbdroot "$config_nbdroot"
    modprobe nbd
    if is_to_swap; then
        connect_patiently swap "$nbd_swap_export" "$nbd_swap_device"
        use_swap "$nbd_swap_device"
    fi
    if [ -n "$nbd_write_export" ]; then
        connect_patiently changes "$nbd_write_export" "$write_device"
    elif [ -n "$write_device" ]; then
        open_local_write NBDROOT
    fi
    connect_patiently root "$nbd_export" "$root_device"
}
