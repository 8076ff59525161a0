# The kernel's command line, read as data.

# has_open_quote TEXT: an odd number of double quotes, so that the next word still belongs to it.
has_open_quote() {
    local rest=$1 open=
    while [ "$rest" != "${rest#*\"}" ]; do
        rest=${rest#*\"}
        [ -n "$open" ] && open= || open=1
    done
    [ -n "$open" ]
}

# take_cmdline_word WORD: remember the words that are ours; the others are for the kernel and for the root's own init.
take_cmdline_word() {
    local value=${1#*=}
    case $1 in
    kiwiserver=*) kiwiserver=$value ;;
    kiwiservertype=*) kiwiservertype=$value ;;
    ip=*:*) nth_field 2 : "$value" && ! is_ipv4 "$field" || ip_server=$field ;;
    BOOTIF=*) bootif=$value ;;
    init=*) init=$value ;;
    panic=*) is_number "${value#-}" && panic=$value ;;
    rw | ro) root_access=$1 ;;
    NBDROOT=*) cmdline_nbdroot=$value ;;
    AOEROOT=*) cmdline_aoeroot=$value ;;
    NFSROOT=*) cmdline_nfsroot=$value ;;
    kiwi_ramonly=*) config_ramonly=$value ;;
    rootwire.extra=*) is_name "${value#/}" && extra_path=${value#/} ;;
    rootwire.poll=*) is_number "$value" && poll_seconds=$value ;;
    rootwire.swap) always_swap=1 ;;
    rootwire.debug) debug=1 ;;
    esac
}

# parse_cmdline FILE: words are split at blanks outside double quotes; those after "--" are arguments of init, not ours.
parse_cmdline() {
    local line word pending=
    IFS= read -r line < "$1" || [ -n "$line" ]
    set -f
    for word in $line; do
        pending=$pending${pending:+ }$word
        has_open_quote "$pending" && continue
        [ "$pending" != -- ] || break
        take_cmdline_word "${pending//\"/}"
        pending=
    done
    set +f
}
