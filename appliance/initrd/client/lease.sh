#!/bin/busybox sh
# udhcpc's script: on a lease, write down what it says and tell init which interface has it. init sets the address.
[ "$1" = bound ] || exit 0
{
    printf 'ip=%s\n' "$ip"
    printf 'mask=%s\n' "${mask:-24}"
    printf 'router=%s\n' "${router%% *}"
    printf 'dns=%s\n' "$dns"
    printf 'domain=%s\n' "$(printf '%s' "$domain" | tr -dc 'A-Za-z0-9.-')"
    printf 'siaddr=%s\n' "$siaddr"
    printf 'serverid=%s\n' "$serverid"
} > "/run/rootwire/lease.$interface"
printf '%s\n' "$interface" > /run/rootwire/leases
