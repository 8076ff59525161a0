# Machines named by lists of MAC addresses: config.group and hardware maps. Unlike KIWI's client, which stops at the
# first map, every map that lists the machine counts, in the order of HARDWARE_MAP; and letters may be of either case.

# list_value KEY: what the file read last says for a list's KEY, into $listed; the later of two equal keys wins.
list_value() {
    local key value
    listed=
    while IFS=' ' read -r key value; do
        [ "$key" != "$1" ] || listed=$value
    done < "$RUN/lists"
}

# list_words LIST: the words of a list, which blanks or commas separate, one a line.
list_words() { printf '%s\n' "$1" | tr -s ', \t' '\n\n\n'; }

# names_machine LIST MAC: whether MAC, in capitals, is in it.
names_machine() { list_words "$1" | tr 'a-f' 'A-F' | grep -qxF -e "$2"; }

# lists_with NAMES SUFFIX MAC: those of NAMES whose list, the key NAME_SUFFIX, has the machine; into $members.
lists_with() {
    local name
    members=
    for name in $(list_words "$1" | tr -dc 'A-Za-z0-9_\n'); do
        list_value "${name}_$2"
        ! names_machine "$listed" "$3" || members=$members${members:+ }$name
    done
}

take_list() {
    case $1 in
    KIWI_GROUP | HARDWARE_MAP | *_KIWI_MAC_LIST | *_HARDWARE_MAP) printf '%s %s\n' "$1" "$2" >> "$RUN/lists" ;;
    esac
}

# find_group MAC: the configuration of the first group of $RUN/config that has the machine. 1: none has; 2: no answer.
find_group() {
    refused_count=0
    : > "$RUN/lists"
    parse_config "$RUN/config" take_list refuse_config_line
    list_value KIWI_GROUP
    [ -n "$listed" ] || fail "KIWI/config.group on $from has no KIWI_GROUP: add it, or remove the file"
    lists_with "$listed" KIWI_MAC_LIST "$1"
    [ -n "$members" ] || return 1
    config_name=KIWI/config.${members%% *}
    fetch_small "$config_name" "$RUN/config"
    case $? in
    1) fail "KIWI/config.group puts $1 into ${members%% *}, but $from has no $config_name: add it" ;;
    2) return 2 ;;
    esac
}

# apply_hardware_maps MAC: the files of the maps that have the machine, read over the configuration.
apply_hardware_maps() {
    local map
    list_value HARDWARE_MAP
    lists_with "$listed" HARDWARE_MAP "$1"
    for map in $members; do
        fetch_patiently fetch_small "KIWI/hardware_config.$map" "$RUN/hardware" ||
            fail "$config_name puts $1 into the hardware map $map, but $from has no KIWI/hardware_config.$map: add it"
        say "config KIWI/hardware_config.$map over it"
        read_config "$RUN/hardware" "KIWI/hardware_config.$map"
    done
}
