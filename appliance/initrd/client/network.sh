# Network: drivers for the cards that are there, links up, one address by DHCP.

CARDS=/sys/class/net
NIC_SECONDS=10                     # adapters on USB show up seconds after their bus
CARRIER_SECONDS=5                  # links renegotiate for 2 to 4 s when the firmware hands over to the kernel
DHCP_PACKETS=5                     # a round: even the shortest outlasts the 3 s of servers that ping an address first
DHCP_ROUND_SECONDS='1 2 4 8'       # between packets, a round each: 75 s in all; a switch with STP is deaf for up to 60

# load_drivers: a driver for every device the kernel lists. A bus reveals what is behind it, so three rounds: PCI,
# virtio or USB, card.
load_drivers() {
    local round aliases known=
    set -f
    for round in 1 2 3; do
        aliases=$(find /sys/devices -name modalias -exec cat {} + 2>> "$RUN/drivers.log" | sort -u)
        [ "$aliases" != "$known" ] || break
        # Most devices have no driver in here: that is no error.
        modprobe -a -b -q $aliases 2>> "$RUN/drivers.log"
        known=$aliases
    done
    set +f
}

# list_nics: wired network cards into $nics: Ethernet, with a device behind them, not wireless.
list_nics() {
    local path type
    nics=
    for path in "$CARDS"/*; do
        [ -e "$path/device" ] && [ ! -e "$path/phy80211" ] && read -r type < "$path/type" && [ "$type" = 1 ] || continue
        nics="$nics ${path##*/}"
    done
}

find_nics() {
    local try
    load_drivers
    list_nics
    if [ -z "$nics" ]; then
        modprobe -a -q virtio_pci virtio_net # a hypervisor that hides its modalias
        for try in $(seq $NIC_SECONDS); do
            list_nics
            [ -z "$nics" ] || break
            sleep 1
            load_drivers
        done
    fi
    [ -n "$nics" ] ||
        fail 'no wired network card found: its driver may be missing; build the initrd with another --kernel'
}

has_carrier() { [ "$(cat "$CARDS/$1/carrier" 2>> "$RUN/drivers.log")" = 1 ]; }

# raise_links: every link up, and a moment for the first of $nics to have a carrier.
raise_links() {
    local name try
    ip link set lo up
    for name in $nics; do ip link set "$name" up || say "link $name did not come up"; done
    for try in $(seq $((CARRIER_SECONDS * 10))); do
        for name in "$@"; do has_carrier "$name" && return; done
        sleep 0.1
    done
    say "no carrier on $* after $CARRIER_SECONDS s: check the cable; asking for an address all the same"
}

# choose_nics: the one BOOTIF names, in any case of letters and with the leading 01-, or all of them; into $chosen.
choose_nics() {
    local wanted name address
    chosen=$nics
    [ -n "$bootif" ] || return 0
    wanted=$(printf '%s' "$bootif" | tr 'A-F-' 'a-f:')
    [ ${#wanted} -ne 20 ] || wanted=${wanted#??:}
    for name in $nics; do
        read -r address < "$CARDS/$name/address"
        [ "$address" != "$wanted" ] || { chosen=$name && return 0; }
    done
    say "BOOTIF=$(show "$bootif") is none of the network cards$nics: asking on all"
}

# ask_dhcp SECONDS NIC...: one round on all at once; the first to answer into $nic.
ask_dhcp() {
    local seconds=$1 name pids=
    shift
    for name in "$@"; do
        udhcpc -f -n -q -t $DHCP_PACKETS -T "$seconds" -i "$name" -s /lib/rootwire/lease.sh >> "$RUN/dhcp.log" 2>&1 &
        pids="$pids $!"
    done
    nic=
    read -r -t $((seconds * DHCP_PACKETS + 1)) nic <&9
    kill $pids 2>> "$RUN/dhcp.log"
    wait
    [ -n "$nic" ]
}

read_lease() {
    local key value
    while IFS='=' read -r key value; do
        case $key in
        ip) lease_ip=$value ;;
        mask) lease_mask=$value ;;
        router) lease_router=$value ;;
        dns) lease_dns=$value ;;
        domain) lease_domain=$value ;;
        siaddr) lease_siaddr=$value ;;
        serverid) lease_serverid=$value ;;
        esac
    done < "$1"
}

use_lease() {
    local name
    ip addr add "$lease_ip/$lease_mask" broadcast + dev "$nic" ||
        fail "the address $lease_ip/$lease_mask of DHCP can't be set on $nic"
    if is_ipv4 "$lease_router"; then
        ip route add default via "$lease_router" dev "$nic" ||
            say "the router $lease_router of DHCP can't be used: going on without"
    fi
    : > /etc/resolv.conf
    [ -z "$lease_domain" ] || printf 'search %s\n' "$lease_domain" >> /etc/resolv.conf
    for name in $lease_dns; do printf 'nameserver %s\n' "$name" >> /etc/resolv.conf; done
}

start_network() {
    local began seconds
    clock && began=$now
    find_nics
    choose_nics
    raise_links $chosen
    mkfifo "$RUN/leases"
    exec 9<> "$RUN/leases"
    for seconds in $DHCP_ROUND_SECONDS; do
        if ask_dhcp "$seconds" $chosen; then
            read_lease "$RUN/lease.$nic"
            use_lease
            elapsed_since "$began"
            say "address $lease_ip on $nic ($elapsed s)"
            return
        fi
        say "no DHCP answer on $(echo $chosen): asking again"
    done
    fail "no DHCP server answered on $(echo $chosen): check the cable and the DHCP server"
}
