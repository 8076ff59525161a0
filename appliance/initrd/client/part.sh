# PART: the partitions a disk must have, compared with those it has, and made. Letters and numbers name the same types,
# and sizes may have a unit: with KIWI's client, S, L, M and G have a disk installed anew at every boot.

PART_SLACK_MIB=12      # between a size in PART and one on the disk, as in KIWI
MBR_SECTORS=4294967295 # of 512 bytes: what a table of the old kind can describe
MBR_PARTITIONS=4
MOST_PARTITIONS=16     # more in PART is a mistake

# part_size TEXT: MiB, or x for the rest of the disk; into $size.
part_size() {
    local number=${1%[MG]}
    size=$number
    [ "$1" = "$number" ] || [ "$1" = "${number}M" ] || size=$((number * 1024))
    case $1 in
    x | X) size=x ;;
    *) is_number "$number" && [ "$size" -gt 0 ] || return 1 ;;
    esac
}

# part_type TEXT: the number of an old table's type; into $type.
part_type() {
    case $1 in
    S | 82) type=82 ;;
    L | 83) type=83 ;;
    V | 8e | 8E) type=8e ;;
    fd | FD) type=fd ;;
    ef | EF) type=ef ;;
    41) type=41 ;;
    *) return 1 ;;
    esac
}

# part_mount TEXT: a folder, or x for none; into $mount.
part_mount() {
    mount=$1
    case $1 in
    '' | x | X | swap) mount=x ;;
    *) [ "$1" = / ] || is_name "root$1" && [ "$1" != "${1#/}" ] ;;
    esac
}

# parse_part VALUE: SIZE;TYPE;MOUNT,... into the lines NUMBER SIZE TYPE MOUNT of $RUN/parts; the root's device into
# $part_root.
parse_part() {
    local entries=$1 entry number=0 size type mount rest=
    : > "$RUN/parts"
    while take_entry; do
        number=$((number + 1))
        [ -z "$rest" ] || fail "PART=$(show "$1"): nothing can follow the rest of the disk: write x in the last entry only"
        { nth_field 1 ';' "$entry" && part_size "$field"; } && { nth_field 2 ';' "$entry" && part_type "$field"; } &&
            { nth_field 3 ';' "$entry" && part_mount "$field"; } && [ $number -le $MOST_PARTITIONS ] ||
            fail "PART: $(show "$entry") is no partition: write SIZE;TYPE;MOUNT, such as 512;82;x or x;83;/"
        [ "$size" != x ] || rest=1
        [ -z "$config_raid" ] || type=fd
        printf '%s %s %s %s\n' $number "$size" "$type" "$mount" >> "$RUN/parts"
        part_device $number
        [ "$mount" != / ] || part_root=$device
    done
    part_count=$number
}

# partition_name DISK NUMBER: into $partition; a p stands between a number and a number.
partition_name() {
    case $1 in
    *[0-9]) partition=$1p$2 ;;
    *) partition=$1$2 ;;
    esac
}

# part_device NUMBER: what the system uses of it: the partition, or the mirror made of it; into $device.
part_device() {
    partition_name "$disk" "$1"
    device=$partition
    [ -z "$config_raid" ] || device=/dev/md$(($1 - 1))
}

# choose_label DISK: the kind of its table, into $label.
choose_label() {
    local sectors
    read -r sectors < "/sys/class/block/${1#/dev/}/size"
    label=dos
    [ "$part_count" -le $MBR_PARTITIONS ] && [ "$sectors" -le $MBR_SECTORS ] || label=gpt
}

# type_code TYPE: what sfdisk calls it in a table of the kind $label; into $code.
type_code() {
    code=$1
    [ $label = gpt ] || return 0
    case $1 in
    82) code=0657FD6D-A4AB-43C4-84E5-0933C84B4F4F ;;
    83) code=0FC63DAF-8483-4772-8E79-3D69D8477DE4 ;;
    8e) code=E6D6D379-F507-44C2-A23C-238F2A3DF928 ;;
    fd) code=A19D880F-05FC-4D3B-A006-743F0F84911E ;;
    ef) code=C12A7328-F81F-11D2-BA4B-00A0C93EC93B ;;
    41) code=9E1A2D38-C612-4316-AA26-8B49521E5A8B ;;
    esac
}

# dumped_value NAME LINE: of one of sfdisk's lines, "... NAME=  VALUE, ..."; into $dumped.
dumped_value() {
    dumped=${2#*"$1="}
    dumped=${dumped#"${dumped%%[! ]*}"}
    dumped=${dumped%%[, ]*}
}

# partition_matches LINE SIZE TYPE SECTOR: whether one partition on the disk is the one that PART wants.
partition_matches() {
    local found
    dumped_value type "$1"
    type_code "$3"
    [ "$(printf '%s' "$dumped" | tr 'a-z' 'A-Z')" = "$(printf '%s' "$code" | tr 'a-z' 'A-Z')" ] || return 1
    [ "$2" != x ] || return 0
    dumped_value size "$1"
    is_number "$dumped" || return 1
    found=$((dumped * $4 / 1048576 - $2))
    [ "${found#-}" -le $PART_SLACK_MIB ]
}

# table_matches DISK
table_matches() {
    local number size type mount line sector=512
    choose_label "$1"
    sfdisk -d "$1" > "$RUN/table" 2>> "$RUN/disk.log" && grep -q "^label: $label\$" "$RUN/table" || return 1
    [ "$(grep -cF "$1" "$RUN/table")" -eq $((part_count + 1)) ] || return 1 # its name is in a line of its own
    line=$(grep '^sector-size: ' "$RUN/table") && sector=${line#* }
    while read -r number size type mount; do
        partition_name "$1" "$number"
        line=$(grep -F "$partition : " "$RUN/table") || return 1
        partition_matches "$line" "$size" "$type" "$sector" || return 1
    done < "$RUN/parts"
}

# make_table DISK: the heads of its partitions are cleared, so that what an older table left there counts as nothing.
make_table() {
    local number size type mount
    choose_label "$1"
    echo "label: $label" > "$RUN/table"
    while read -r number size type mount; do
        type_code "$type"
        [ "$size" = x ] && echo "type=$code" || echo "size=${size}MiB, type=$code"
    done < "$RUN/parts" >> "$RUN/table"
    say "$1 gets the partitions of PART: all that was on it is lost"
    # sfdisk makes a partition smaller that doesn't fit: the next boot would take it for another table.
    sfdisk -q --wipe always "$1" < "$RUN/table" > "$RUN/disk.log" 2>&1 && table_matches "$1" ||
        fail "$1 can't be partitioned ($(show "$(tail -n 1 "$RUN/disk.log")")): check the sizes in PART and the disk"
    while read -r number size type mount; do
        partition_name "$1" "$number"
        await_device "$partition" || fail "$partition did not appear: check the disk $1"
        dd if=/dev/zero of="$partition" bs=4096 count=$HEAD_BLOCKS 2>> "$RUN/disk.log"
    done < "$RUN/parts"
}
