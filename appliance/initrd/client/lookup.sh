# Which configuration is this machine's: KIWI's look-up order, from the most particular to the default.

# config_names MAC ADDRESS: one name a line: MAC (in capitals), group, the address in hex shortened digit by digit,
# default.
config_names() {
    local hex digits
    printf 'config.%s\nconfig.group\n' "$1"
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
        config_name=KIWI/$name
        [ "$name" = config.group ] || return 0
        find_group "$1"
        case $? in
        0) return 0 ;;
        2) return 2 ;;
        esac
    done
    config_name=
    return 1
}

# look_up_config: until there is one. A server that answers and has none is asked for one by registering.
look_up_config() {
    local seconds
    read -r machine_mac < "$CARDS/$nic/address"
    machine_mac=$(printf '%s' "$machine_mac" | tr 'a-f' 'A-F')
    for seconds in $PATIENCE_SECONDS 0; do
        find_config "$machine_mac" "$lease_ip"
        case $? in
        0) break ;;
        1) await_enrolment "$machine_mac" && break ;;
        esac
        reason="$from does not answer ($(why_no_answer))"
        [ "$seconds" -ne 0 ] || fail "$reason: check the server"
        say "$reason: looking again in $seconds s"
        sleep "$seconds"
    done
    say "config $config_name from $from"
}
