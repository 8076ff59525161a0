# The keys of a configuration, and what the kernel's command line may put in their place.

# take_config_value KEY VALUE: the keys this client acts on. As in KIWI, the later of two equal keys wins.
take_config_value() {
    taken_count=$((taken_count + 1))
    case $1 in
    IMAGE) config_image=$2 ;;
    NBDROOT) config_nbdroot=$2 ;;
    AOEROOT) config_aoeroot=$2 ;;
    UNIONFS_CONFIG) config_unionfs=$2 ;;
    ALLOW_CMDLINE_OVERWRITE) config_overwrite=$2 ;;
    ERROR_INTERRUPT) config_interrupt=$2 ;;
    KIWI_GROUP | HARDWARE_MAP | *_KIWI_MAC_LIST | *_HARDWARE_MAP) take_list "$1" "$2" ;;
    kiwiserver | SERVER) kiwiserver=$2 ;;
    kiwiservertype | SERVERTYPE) kiwiservertype=$2 ;;
    *) say "config: $1 is not used by this client yet" ;;
    esac
}

# apply_overwrites: where the configuration allows it, a root named on the command line replaces all that it names.
apply_overwrites() {
    [ -z "$config_interrupt" ] || fail "ERROR_INTERRUPT: $(show "$config_interrupt")"
    [ -n "$config_overwrite" ] && [ -n "$cmdline_nbdroot$cmdline_aoeroot" ] || return 0
    config_nbdroot=$cmdline_nbdroot config_aoeroot=$cmdline_aoeroot
    say 'root taken from the kernel command line, as ALLOW_CMDLINE_OVERWRITE says'
}
