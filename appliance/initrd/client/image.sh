# IMAGE: what its entries name, copied to where they say, compared with the checksums that the server offers.

FETCH_RETRY_SECONDS='1 2 5 10 15'    # before each new fetch; KIWI waits 15 s each time and never gives up
PROGRESS_SECONDS=1                   # between changes of the line of progress
STALL_ROUNDS=60                      # of those without a byte, then the transfer is begun anew

# take_entry: the first of the comma-separated $entries into $entry, the others stay; empty ones (a comma too many)
# are passed over. 1: none is left.
take_entry() {
    entry=
    while [ -z "$entry" ] && [ -n "$entries" ]; do
        entry=${entries%%,*}
        [ "$entries" != "$entry" ] && entries=${entries#*,} || entries=
    done
    [ -n "$entry" ]
}

# parse_image ENTRY: DEVICE;NAME;VERSION;SERVER;BSIZE[;COMPRESSION]. The server is not used, as in KIWI since 2019.
parse_image() {
    local version
    nth_field 1 ';' "$1" && image_device=$field
    nth_field 3 ';' "$1" && version=$field
    nth_field 2 ';' "$1" && image_name=$field-$version image_path=image/$field-$version
    is_device "$image_device" && [ -n "$field" ] && [ -n "$version" ] && is_name "$image_path" ||
        fail "IMAGE=$(show "$1") names no image: write /dev/ram1;NAME;VERSION;SERVER;4096"
    nth_field 5 ';' "$1" && image_blksize=$field
    is_number "$image_blksize" && [ "$image_blksize" -ge 8 ] && [ "$image_blksize" -le 65464 ] || image_blksize=8192
    nth_field 6 ';' "$1"
    case $field in
    '' | uncomp*) image_suffix= unpack=cat ;;
    compressed | compressed-gzip) image_suffix=.gz unpack=gunzip ;;
    compressed-xz) image_suffix=.xz unpack=unxz ;;
    *) fail "IMAGE: $(show "$field") is an unknown compression: write compressed-gzip or compressed-xz" ;;
    esac
}

# read_checksum FILE DIGITS: "SUM BLOCKS BLOCKSIZE [ZBLOCKS ZBLOCKSIZE]"; the sum of so many hex digits into
# $checksum, the image's bytes into $checksum_size. The size of the compressed file is only checked for its form.
read_checksum() {
    local sum blocks blocksize packed rest
    IFS=" 	$CARRIAGE_RETURN" read -r sum blocks blocksize packed rest < "$1" || [ -n "$blocksize" ] || return 1
    case $sum in
    *[!0-9A-Fa-f]*) return 1 ;;
    esac
    [ ${#sum} -eq "$2" ] && is_number "$blocks" && is_number "$blocksize" || return 1
    [ ${#blocks} -le 10 ] && [ ${#blocksize} -le 8 ] || return 1
    [ -z "$packed" ] || { is_number "$packed" && is_number "$rest"; } || return 1
    checksum=$(printf '%s' "$sum" | tr 'A-F' 'a-f') checksum_size=$((blocks * blocksize))
    [ "$checksum_size" -gt 0 ]
}

# fetch_checksum SUFFIX DIGITS: 0: $checksum and $checksum_size; 1: not offered; 2: not to be had now, $reason says why.
fetch_checksum() {
    fetch_small "$image_path$1" "$RUN/sum" "$image_blksize"
    case $? in
    1) return 1 ;;
    2) reason="$from does not answer ($(why_no_answer))" && return 2 ;;
    esac
    read_checksum "$RUN/sum" "$2" && return
    reason="$image_path$1 is not of the form 'SUM BLOCKS BLOCKSIZE'"
    return 2
}

# learn_image: the image's size and version, by which it is known again: its md5 or, where there is none, its sha256.
learn_image() {
    image_md5= image_sha256= image_version=
    fetch_checksum .md5 32
    case $? in
    0) image_md5=$checksum image_version=$checksum image_size=$checksum_size ;;
    2) return 1 ;;
    esac
}

# learn_sha256: asked for before the image itself; better than md5, and in its place where it is all there is.
learn_sha256() {
    fetch_checksum .sha256 64
    case $? in
    1) [ -n "$image_md5" ] || fail "$image_path.md5 is not on $from, nor .sha256: put it there" && return ;;
    2) return 1 ;;
    esac
    if [ -n "$image_md5" ] && [ "$checksum_size" != "$image_size" ]; then
        reason="$image_path.md5 and .sha256 are of images of different sizes" && return 1
    fi
    image_sha256=$checksum image_size=$checksum_size image_version=${image_version:-$checksum}
}

# show_progress BYTES BEGAN: always the same line of the console.
show_progress() {
    local rate hundredths
    clock
    hundredths=$((now - $2 + 1))
    rate=$(($1 / (hundredths * 1000)))
    printf '\rrootwire: image %s %% of %s MiB, %s MB/s ' \
        $(($1 * 100 / image_size)) $((image_size / 1048576)) $((rate / 10)).$((rate % 10))
}

# watch_copy PID BEGAN: until killed, shows how far the process PID is in writing the image, and ends a transfer that
# stands still.
watch_copy() {
    local position last=0 still=0
    while sleep $PROGRESS_SECONDS; do
        position_of "$1" || continue
        still=$((still + 1))
        [ "$position" = "$last" ] || still=0
        show_progress "$position" "$2"
        [ $still -lt $STALL_ROUNDS ] || killall wget tftp
        last=$position
    done 2>> "$RUN/mount.log"
}

# position_of PID: how far it is in writing its standard output, into $position.
position_of() {
    local key
    read -r key position < "/proc/$1/fdinfo/1"
}

# copy_image TARGET: from the server into a file or device; the bytes that came into $copied.
copy_image() {
    local copier watcher position
    clock && began=$now
    echo 0 > "$RUN/copied"
    fetch "$image_path$image_suffix" - "$image_blksize" | $unpack 2> "$RUN/unpack.log" |
        { cat 2> "$RUN/copy.log" && position_of self && printf '%s\n' "$position" > "$RUN/copied"; } > "$1" &
    copier=$!
    watch_copy $copier "$began" &
    watcher=$!
    wait $copier
    kill $watcher
    wait $watcher 2>> "$RUN/mount.log" # ash says "Terminated" there
    read -r copied < "$RUN/copied"
    show_progress "$copied" "$began"
    echo
}

# sum_of COMMAND FILE: over the image's bytes of it, read back from where they were written to.
sum_of() { dd if="$2" bs=65536 iflag=count_bytes,fullblock count="$image_size" 2>> "$RUN/mount.log" | "$1" | cut -d ' ' -f 1; }

# verify_image TARGET: by the better of the checksums that are offered.
verify_image() {
    say "image complete, verifying"
    sync
    [ ! -b "$1" ] || echo 1 > /proc/sys/vm/drop_caches # what the disk holds counts, not what was meant for it
    if [ -n "$image_sha256" ]; then
        verified="sha256 $image_sha256"
        [ "$(sum_of sha256sum "$1")" = "$image_sha256" ]
    else
        verified="md5 $image_md5"
        [ "$(sum_of md5sum "$1")" = "$image_md5" ]
    fi
}

# fetch_image PLACE: one attempt. "PLACE" is called with the image's size known and names $target. The reason of a
# failure goes into $reason.
fetch_image() {
    [ -n "$image_version" ] || learn_image && learn_sha256 || { image_version= && return 1; }
    "$1"
    copy_image "$target"
    [ "$copied" -lt "$image_size" ] || ! verify_image "$target" || return 0
    image_version= # the server may just have another image put on it: its checksum is asked for again
    reason="$image_path$image_suffix does not match its checksum"
    reason="$reason ($copied of $image_size bytes came$(sed "s/^/, /" "$RUN/fetch.log"))"
    return 1
}

# claim_root NAME DEVICE: the image that came to DEVICE may be the root. Of several it is the one that UNIONFS_CONFIG
# or PART calls so, else the last.
claim_root() {
    [ -z "$root_is_named" ] || return 0
    root_device=$2 root_image=$image_path
    nth_field 2 , "$config_unionfs"
    [ "$field" != "$1" ] && [ "$part_root" != "$1" ] || root_is_named=1
}

# fetch_image_patiently PLACE
fetch_image_patiently() {
    local seconds
    for seconds in $FETCH_RETRY_SECONDS 0; do
        if fetch_image "$1"; then
            elapsed_since "$began"
            say "image $image_path$image_suffix from $from," \
                "$verified ($((image_size / 1048576)) MiB in $elapsed s)"
            return
        fi
        [ "$seconds" -ne 0 ] || fail "$reason: put the image and its checksum on the server again"
        say "$reason: fetching again in $seconds s"
        sleep "$seconds"
    done
}
