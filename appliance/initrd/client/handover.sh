# From here to the root's own init.

INIT_NAMES='/sbin/init /lib/systemd/systemd /bin/init /bin/sh'

# keep_name_servers: the lease's, where the root has an empty resolv.conf or none; a link belongs to the root's own
# resolver.
keep_name_servers() {
    local file=/root/etc/resolv.conf
    [ ! -L "$file" ] && [ ! -s "$file" ] && [ -d /root/etc ] && [ -s /etc/resolv.conf ] || return 0
    cat /etc/resolv.conf > "$file" 2>> "$RUN/mount.log" || say 'the root is read-only: its resolv.conf stays empty'
}

# find_init: the first that is there into $init; where a link points only the root knows, so a link counts.
find_init() {
    local name
    case $init in
    '' | /*) ;;
    *) say "init=$(show "$init") is no absolute path: left out" && init= ;;
    esac
    [ -z "$init" ] || [ -e "/root$init" ] || [ -L "/root$init" ] ||
        say "init=$(show "$init") is not in the root: trying others"
    for name in $init $INIT_NAMES; do
        [ -e "/root$name" ] || [ -L "/root$name" ] || continue
        init=$name
        return
    done
    fail "the root has no init (none of $(show "${init:-}") $INIT_NAMES): check the image"
}

# move_kernel_file_systems: what the root has no folder for goes with this one.
move_kernel_file_systems() {
    local name
    for name in dev proc sys run; do
        [ -d "/root/$name" ] || mkdir "/root/$name" 2>> "$RUN/mount.log" || continue
        mount --move "/$name" "/root/$name"
    done
}

hand_over() {
    keep_name_servers
    find_init
    [ "$init" != /bin/sh ] || set -- # the kernel's left-over words are for an init, not for a shell
    say "starting $init"
    exec 9<&-
    trap - EXIT
    move_kernel_file_systems
    exec switch_root -c /dev/console /root "$init" "$@"
}
