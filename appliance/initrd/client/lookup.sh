# Which configuration is this machine's: KIWI's look-up order, from the most particular to the default.

LOOKUP_SECONDS='1 2 4 8 15'   # between rounds over all names: a server that is starting gets half a minute

# config_names MAC ADDRESS: one name a line: MAC in capitals, group, the address in hex shortened digit by digit,
# default.
config_names() {
    local hex digits
    printf 'config.%s\nconfig.group\n' "$(printf '%s' "$1" | tr 'a-f' 'A-F')"
    hex=$(IFS=. && printf '%02X' $2)
    for digits in 8 7 6 5 4 3 2 1; do printf "config.%.${digits}s\n" "$hex"; done
    printf 'config.default\n'
}

# find_config MAC ADDRESS: the first that exists into $RUN/config, its name into $config_name. 1: none exists; 2: no
# answer.
find_config() {
    local name
    for name in $(config_names "$1" "$2"); do
        fetch_small "KIWI/$name" "$RUN/config"
        case $? in
        1) continue ;;
        2) return 2 ;;
        esac
        if [ "$name" = config.group ]; then
            say 'config: KIWI/config.group is there, but groups come later: going on with the next name'
            continue
        fi
        config_name=KIWI/$name
        return 0
    done
    return 1
}

look_up_config() {
    local mac seconds
    read -r mac < "$CARDS/$nic/address"
    for seconds in $LOOKUP_SECONDS 0; do
        find_config "$mac" "$lease_ip"
        case $? in
        0) say "config $config_name from $from" && return ;;
        1) reason="no KIWI/config.* for $mac on $from" ;;
        *) reason="$from does not answer ($(why_no_answer))" ;;
        esac
        say "$reason: looking again in $seconds s"
        sleep "$seconds"
    done
    fail "$reason: check the server"
}
