# AOEROOT: the root on an ATA-over-Ethernet target of this network segment, and a target of its own for the changes.

AOE_SECONDS=60          # until the target must have answered
AOE_ASK_SECONDS=3       # between questions: the driver itself asks once when it loads and then once a minute
AOE_DEAD_SECONDS=86400  # the driver gives a silent target up after this, 180 s by default: a root is worth waiting for

# is_aoe_device NAME: /dev/etherd/eSHELF.SLOT.
is_aoe_device() {
    local target=${1#/dev/etherd/e}
    [ "$target" != "$1" ] && [ "$target" != "${target#*.}" ] &&
        is_number "${target%%.*}" && is_number "${target#*.}"
}

# parse_aoeroot VALUE: RODEVICE[,RWDEVICE]; the second may be a disk's.
parse_aoeroot() {
    nth_field 1 , "$1" && root_device=$field
    nth_field 2 , "$1" && write_device=$field
    is_aoe_device "$root_device" ||
        fail "AOEROOT=$(show "$1") names no AoE device: write /dev/etherd/eSHELF.SLOT"
    case $write_device in
    tmpfs | /dev/ram*) write_device= ;;
    '') ;;
    *) is_device "$write_device" || fail "AOEROOT: $(show "$write_device") is no device: write /dev/etherd/eSHELF.SLOT" ;;
    esac
}

# The driver hears an interface before it has counted the processors, which it divides by when a target answers: a
# kernel panic for whoever is advertised to in that moment. So it is given its interface once it is there.
load_aoe() {
    modprobe aoe aoe_iflist=none aoe_deadsecs=$AOE_DEAD_SECONDS
    printf %s "$nic" > /dev/etherd/interfaces
}

# wait_for_target DEVICE: asks at once and then at intervals until it is there.
wait_for_target() {
    local try
    for try in $(seq 0 $((AOE_SECONDS * 10 - 1))); do
        [ ! -b "$1" ] || return 0
        [ $((try % (AOE_ASK_SECONDS * 10))) -ne 0 ] || echo > /dev/etherd/discover
        sleep 0.1
    done
    fail "no AoE target ${1#/dev/etherd/} answered on $nic in $AOE_SECONDS s:" \
        "check the server and that it is on this network segment"
}

open_aoe() {
    local began
    parse_aoeroot "$config_aoeroot"
    clock && began=$now
    load_aoe
    wait_for_target "$root_device"
    elapsed_since "$began"
    say "AOE-READY $elapsed"
    if is_aoe_device "$write_device"; then
        wait_for_target "$write_device"
    elif [ -n "$write_device" ]; then
        open_local_write AOEROOT
    fi
    say "root aoe ${root_device#/dev/etherd/} on $nic"
}
