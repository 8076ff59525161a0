# The extra archive: tools and drivers that only machines with disks, or with their root on NFS, need. It is loaded from
# the server when a configuration asks for it; a boot loader may also have given it to the kernel behind the initramfs.

DEVICE_SECONDS=60                # as in KIWI
EXTRA_MARK=/lib/rootwire/extra   # in the archive: the kernel version that it is for

# require_extra WHAT: what needs it, for the console.
require_extra() {
    local version
    [ -e "$EXTRA_MARK" ] || load_extra "$1"
    read -r version < "$EXTRA_MARK"
    [ "$version" = "$(uname -r)" ] ||
        fail "$extra_path is for kernel $(show "$version"), this is $(uname -r): build initramfs and extra archive together"
    load_drivers
}

load_extra() {
    say "$1 needs $extra_path: loading it"
    fetch_patiently fetch_file "$extra_path" "$RUN/extra" ||
        fail "$1 needs $extra_path, which $from has not: make it with rootwire initrd --extra"
    gunzip < "$RUN/extra" 2> "$RUN/unpack.log" | (cd / && cpio -i -d -u 2>> "$RUN/unpack.log")
    rm "$RUN/extra"
    [ -e "$EXTRA_MARK" ] || fail "$extra_path is no extra archive: make it with rootwire initrd --extra"
}

# require_tool NAME WHAT PACKAGE: one that the extra archive has only where it was installed when that was made.
require_tool() {
    [ -x "/sbin/$1" ] || fail "$2 needs $1, which this client was built without: install $3 and make it again"
}

# open_local_write KEY: $write_device, a disk's, that KEY of the configuration names.
open_local_write() {
    [ -b "$write_device" ] || require_extra "$1"
    await_device "$write_device" || fail "$1: there is no $write_device in this machine: check the disk"
}

# await_device DEVICE: drivers of disks find them some time after they are loaded.
await_device() {
    local try
    for try in $(seq $((DEVICE_SECONDS * 10))); do
        [ ! -b "$1" ] || return 0
        [ $((try % 10)) -ne 0 ] || load_drivers
        sleep 0.1
    done
    return 1
}
