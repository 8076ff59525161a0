# AOEROOT: the root on an ATA-over-Ethernet target of this network segment.

AOE_SECONDS=60          # until the target must have answered
AOE_ASK_SECONDS=3       # between questions: the driver itself asks once when it loads and then once a minute
AOE_DEAD_SECONDS=86400  # the driver gives a silent target up after this, 180 s by default: a root is worth waiting for

# parse_aoeroot VALUE: RODEVICE[,RWDEVICE]
parse_aoeroot() {
    local target
    nth_field 1 , "$1" && root_device=$field target=${field#/dev/etherd/e}
    [ "$target" != "$field" ] && [ "$target" != "${target#*.}" ] &&
        is_number "${target%%.*}" && is_number "${target#*.}" ||
        fail "AOEROOT=$(show "$1") names no AoE device: write /dev/etherd/eSHELF.SLOT"
    nth_field 2 , "$1"
    case $field in
    '' | tmpfs | /dev/ram*) ;;
    *) say "AOEROOT: writing to $(show "$field") comes later: changes stay in memory" ;;
    esac
}

# wait_for_target: asks at once and then at intervals until the device is there.
wait_for_target() {
    local try
    for try in $(seq 0 $((AOE_SECONDS * 10 - 1))); do
        [ ! -b "$root_device" ] || return 0
        [ $((try % (AOE_ASK_SECONDS * 10))) -ne 0 ] || echo > /dev/etherd/discover
        sleep 0.1
    done
    return 1
}

open_aoe() {
    local began
    parse_aoeroot "$config_aoeroot"
    clock && began=$now
    modprobe aoe aoe_iflist="$nic" aoe_deadsecs=$AOE_DEAD_SECONDS
    wait_for_target || fail "no AoE target ${root_device#/dev/etherd/} answered on $nic in $AOE_SECONDS s:" \
        "check the server and that it is on this network segment"
    elapsed_since "$began"
    say "AOE-READY $elapsed"
    say "root aoe ${root_device#/dev/etherd/} on $nic"
}
