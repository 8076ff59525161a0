# IMAGE: a root copied into memory, its checksum verified, mounted from there. The server may go away afterwards.

MEMORY_RESERVE_KIB=65536             # left for the system beside the image: less ends in the kernel killing processes
FETCH_RETRY_SECONDS='1 2 5 10 15'    # before each new fetch; KIWI waits 15 s each time and never gives up
PROGRESS_SECONDS=3                   # between lines of progress
STALL_ROUNDS=20                      # of those without a byte: a minute, then the transfer is begun anew

# parse_image VALUE: DEVICE;NAME;VERSION;SERVER;BSIZE[;COMPRESSION], its first entry.
parse_image() {
    local entry=${1%%,*} device version
    [ "$entry" = "$1" ] || [ -z "${1#*,}" ] || say 'IMAGE: only its first entry is used'
    nth_field 1 ';' "$entry" && device=$field
    case $device in
    /dev/ram*) ;;
    *) fail "IMAGE goes to $(show "$device"): this client has no disks yet; write /dev/ram1 as its first field" ;;
    esac
    nth_field 3 ';' "$entry" && version=$field
    nth_field 2 ';' "$entry" && image_path=image/$field-$version
    [ -n "$field" ] && [ -n "$version" ] && is_name "$image_path" ||
        fail "IMAGE=$(show "$1") names no image: write /dev/ram1;NAME;VERSION;SERVER;4096"
    nth_field 5 ';' "$entry" && image_blksize=$field
    is_number "$image_blksize" && [ "$image_blksize" -ge 8 ] && [ "$image_blksize" -le 65464 ] || image_blksize=8192
    nth_field 6 ';' "$entry"
    case $field in
    '' | uncomp*) image_suffix= unpack=cat ;;
    compressed | compressed-gzip) image_suffix=.gz unpack=gunzip ;;
    compressed-xz) image_suffix=.xz unpack=unxz ;;
    *) fail "IMAGE: $(show "$field") is an unknown compression: write compressed-gzip or compressed-xz" ;;
    esac
}

# read_checksum FILE: "MD5 BLOCKS BLOCKSIZE [ZBLOCKS ZBLOCKSIZE]"; the sum into $image_md5, the image's bytes into
# $image_size.
read_checksum() {
    local blocks blocksize rest
    read -r image_md5 blocks blocksize rest < "$1" || [ -n "$blocksize" ] || return 1
    blocksize=${blocksize%"$CARRIAGE_RETURN"}
    case $image_md5 in
    *[!0-9A-Fa-f]*) return 1 ;;
    esac
    [ ${#image_md5} -eq 32 ] && is_number "$blocks" && is_number "$blocksize" || return 1
    [ ${#blocks} -le 10 ] && [ ${#blocksize} -le 8 ] || return 1
    image_md5=$(printf '%s' "$image_md5" | tr 'A-F' 'a-f')
    image_size=$((blocks * blocksize))
    [ "$image_size" -gt 0 ]
}

# check_memory: fail before the download rather than in the middle of it.
check_memory() {
    local key amount unit need
    need=$((image_size / 1024 + MEMORY_RESERVE_KIB))
    while read -r key amount unit; do
        [ "$key" != MemAvailable: ] || break
    done < /proc/meminfo
    [ "$amount" -ge "$need" ] ||
        fail "$image_path needs $((need / 1024)) MiB of memory, $((amount / 1024)) MiB are free:" \
            "use a bigger machine or root over NBD or AoE"
}

# watch_transfer FILE: until killed, says how much of $image_size has come, and ends a transfer that stands still.
watch_transfer() {
    local size last=0 still=0
    while sleep $PROGRESS_SECONDS; do
        size=$(stat -c %s "$1") || continue
        still=$((still + 1))
        [ "$size" = "$last" ] || still=0
        [ $still -gt 0 ] || say "image $((size * 100 / image_size)) % of $((image_size / 1048576)) MiB"
        [ $still -lt $STALL_ROUNDS ] || killall wget tftp 2>> "$RUN/mount.log"
        last=$size
    done
}

# fetch_image FILE: one attempt: checksum file, image, comparison. The reason of a failure goes into $reason.
fetch_image() {
    local watcher size sum rest
    fetch_small "$image_path.md5" "$RUN/md5" "$image_blksize"
    case $? in
    1) fail "$image_path.md5 is not on $from: put it there" ;;
    2) reason="$from does not answer ($(why_no_answer))" && return 1 ;;
    esac
    umount /image 2>> "$RUN/mount.log" # what an earlier attempt left there
    read_checksum "$RUN/md5" || { reason="$image_path.md5 is not of the form 'MD5 BLOCKS BLOCKSIZE'" && return 1; }
    check_memory
    mount -t tmpfs -o "size=$((image_size + 1048576))" rootwire-image /image
    : > "$1"
    watch_transfer "$1" &
    watcher=$!
    if [ -z "$image_suffix" ]; then
        fetch "$image_path" "$1" "$image_blksize"
    else
        fetch "$image_path$image_suffix" - "$image_blksize" | $unpack > "$1" 2> "$RUN/unpack.log"
    fi
    kill $watcher
    wait $watcher 2>> "$RUN/unpack.log" # ash says "Terminated" there
    size=$(stat -c %s "$1")
    if [ "$size" -ge "$image_size" ]; then
        truncate -s "$image_size" "$1"
        say "image complete, verifying"
        md5sum "$1" > "$RUN/sum" && read -r sum rest < "$RUN/sum" && [ "$sum" = "$image_md5" ] && return 0
    fi
    reason="$image_path$image_suffix does not match its .md5"
    reason="$reason ($size of $image_size bytes came$(sed "s/^/, /" "$RUN/fetch.log"))"
    return 1
}

open_ram() {
    local seconds began
    parse_image "$config_image"
    modprobe loop
    clock && began=$now
    for seconds in $FETCH_RETRY_SECONDS 0; do
        if fetch_image /image/root; then
            elapsed_since "$began"
            truncate -s $(((image_size + 4095) / 4096 * 4096)) /image/root # a loop device ends at whole sectors
            root_device=$(losetup -f) && losetup "$root_device" /image/root ||
                fail 'no loop device for the image in memory'
            say "root ram $image_path$image_suffix from $from," \
                "md5 $image_md5 ($((image_size / 1048576)) MiB in $elapsed s)"
            umount -l /image # the loop device holds the file; nothing else needs the name
            default_access=rw
            return
        fi
        say "$reason: fetching again in $seconds s"
        sleep "$seconds"
    done
    fail "$reason: put the image and its .md5 on the server again"
}
