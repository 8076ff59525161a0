# The keys of a configuration, and what the kernel's command line may put in their place.

# take_config_value KEY VALUE: the keys this client acts on. As in KIWI, the later of two equal keys wins.
take_config_value() {
    taken_count=$((taken_count + 1))
    case $1 in
    IMAGE) config_image=$2 ;;
    NBDROOT) config_nbdroot=$2 ;;
    AOEROOT) config_aoeroot=$2 ;;
    NFSROOT) config_nfsroot=$2 ;;
    UNIONFS_CONFIG) config_unionfs=$2 ;;
    DISK) config_disk=$2 ;;
    PART) config_part=$2 ;;
    RAID) config_raid=$2 ;;
    CONF) config_conf=$2 ;;
    VENDOR_CONF) config_vendor_conf=$2 ;;
    KIWI_KERNEL) config_kernel=$2 ;;
    KIWI_INITRD) config_initrd=$2 ;;
    KIWI_KERNEL_OPTIONS) config_kernel_options=$2 ;;
    KIWI_BOOT_TIMEOUT | kiwi_boot_timeout) config_timeout=$2 ;;
    RELOAD_IMAGE) config_reload_image=$2 ;;
    RELOAD_CONFIG) config_reload_config=$2 ;;
    REBOOT_IMAGE | kiwi_oemreboot) config_reboot=$2 ;;
    kiwi_oemshutdown) config_shutdown=$2 ;;
    kiwi_ramonly) config_ramonly=$2 ;;
    ALLOW_CMDLINE_OVERWRITE) config_overwrite=$2 ;;
    ERROR_INTERRUPT) config_interrupt=$2 ;;
    KIWI_GROUP | HARDWARE_MAP | *_KIWI_MAC_LIST | *_HARDWARE_MAP) take_list "$1" "$2" ;;
    kiwiserver | SERVER) kiwiserver=$2 ;;
    kiwiservertype | SERVERTYPE) kiwiservertype=$2 ;;
    *) say "config: $1 has no meaning for this client" ;;
    esac
}

# apply_overwrites: where the configuration allows it, a root named on the command line replaces all that it names.
apply_overwrites() {
    [ -z "$config_interrupt" ] || fail "ERROR_INTERRUPT: $(show "$config_interrupt")"
    [ -n "$config_overwrite" ] && [ -n "$cmdline_nbdroot$cmdline_aoeroot$cmdline_nfsroot" ] || return 0
    config_nbdroot=$cmdline_nbdroot config_aoeroot=$cmdline_aoeroot config_nfsroot=$cmdline_nfsroot
    say 'root taken from the kernel command line, as ALLOW_CMDLINE_OVERWRITE says'
}
