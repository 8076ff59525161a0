# NFSROOT: the root on an NFS server, version 3 as KIWI's clients ask for it. The kernel itself asks the server's mountd.

# parse_nfsroot VALUE: SERVER;PATH
parse_nfsroot() {
    nth_field 1 ';' "$1" && nfs_server=${field:-${server%%:*}}
    nth_field 2 ';' "$1" && nfs_path=$field
    case $nfs_path in
    /*) ;;
    *) nfs_path= ;;
    esac
    is_ipv4 "$nfs_server" && [ -n "$nfs_path" ] && is_name "root$nfs_path" ||
        fail "NFSROOT=$(show "$1") names no server's address or folder: write 10.0.0.1;/srv/nfs/root"
}

# mount_nfs ACCESS FOLDER: without locks, which only a daemon of the root could hold.
mount_nfs() {
    mount -t nfs -o "$1,vers=3,nolock,proto=tcp,addr=$nfs_server" "$nfs_server:$nfs_path" "$2" 2>> "$RUN/mount.log"
}

open_nfs() {
    parse_nfsroot "$config_nfsroot"
    require_extra NFSROOT
    modprobe -a nfs nfsv3 || fail "$extra_path has no NFS for this kernel: choose another kernel for the client"
    root_device=$nfs_server:$nfs_path default_access=rw
    say "root nfs $root_device"
}
