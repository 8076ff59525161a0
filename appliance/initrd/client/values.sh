# What a value must look like before it is used, and how a list of fields is taken apart. All of it data: nothing is
# evaluated.

# is_number TEXT: decimal digits without a leading zero (the shell would read octal), small enough for 64-bit sums.
is_number() {
    case $1 in
    '' | *[!0-9]* | 0?*) return 1 ;;
    esac
    [ ${#1} -le 12 ]
}

# is_ipv4 TEXT: four numbers up to 255, and not 0.0.0.0, which DHCP sends for "none".
is_ipv4() {
    local rest=$1. part count=0
    [ "$1" != 0.0.0.0 ] || return 1
    while [ -n "$rest" ]; do
        part=${rest%%.*} rest=${rest#*.} count=$((count + 1))
        is_number "$part" && [ ${#part} -le 3 ] && [ "$part" -le 255 ] && [ $count -le 4 ] || return 1
    done
    [ $count -eq 4 ]
}

# is_host TEXT: an IPv4 address or a name, with a port or without.
is_host() {
    case $1 in
    '' | -* | *[!A-Za-z0-9.:-]*) return 1 ;;
    esac
}

# is_name TEXT: what image names, versions and export names may hold; they become parts of URLs and command arguments.
is_name() {
    case $1 in
    '' | [/-]* | *..* | *[!A-Za-z0-9._:/+-]*) return 1 ;;
    esac
}

# is_device TEXT: the name of a device file, anywhere below /dev.
is_device() {
    case $1 in
    /dev/*[!A-Za-z0-9._:/+-]* | /dev/*..* | /dev/) return 1 ;;
    /dev/*) ;;
    *) return 1 ;;
    esac
}

# nth_field N SEPARATOR TEXT: field N (from 1) into $field. Empty fields are kept where they stand.
nth_field() {
    local count=$1 rest=$3$2
    while [ "$count" -gt 1 ] && [ -n "$rest" ]; do
        rest=${rest#*"$2"} count=$((count - 1))
    done
    field=${rest%%"$2"*}
}
