# CONF and VENDOR_CONF: files from the server put into the root, and taken out of it again.
#
# The list of what was installed is kept in the root. A file is fetched when it is new, its hash or source is another
# than in the list, or RELOAD_CONFIG is set; where the root forgets, that is at every boot. One that the server hasn't is
# left as it is: KIWI's client makes it empty.

CONF_LIST=/etc/KIWI/InstalledConfigFiles

# list_conf VALUE: SRC;DEST;SERVER;BSIZE[;HASH],... as lines DEST SRC HASH.
list_conf() {
    local entries=$1 entry origin target hash
    while take_entry; do
        nth_field 1 ';' "$entry" && origin=${field#/}
        nth_field 2 ';' "$entry" && target=$field
        nth_field 5 ';' "$entry" && hash=$field
        if is_name "$origin" && is_name "root$target" && [ "$target" != "${target#/}" ] && is_name "${hash:-none}"; then
            printf '%s %s %s\n' "$target" "$origin" "$hash"
        else
            say "CONF: $(show "$entry") is left out: write SRC;/DEST;SERVER;4096;HASH" >&2
        fi
    done
}

# last_of_each FILE: of lines for the same DEST only the last, so that VENDOR_CONF outranks CONF.
last_of_each() {
    awk '{ if (!($1 in line)) order[++count] = $1; line[$1] = $0 }
        END { for (i = 1; i <= count; i++) print line[order[i]] }' "$1"
}

take_old_conf() {
    case $1 in
    CONF | VENDOR_CONF) list_conf "$2" >> "$RUN/conf.listed" ;;
    esac
}

ignore_line() { :; }

# read_conf: what is wanted into $RUN/conf.wanted, what the root has into $RUN/conf.old.
read_conf() {
    { list_conf "$config_conf" && list_conf "$config_vendor_conf"; } > "$RUN/conf.listed"
    last_of_each "$RUN/conf.listed" > "$RUN/conf.wanted"
    : > "$RUN/conf.listed"
    [ ! -f "$ROOT$CONF_LIST" ] || parse_config "$ROOT$CONF_LIST" take_old_conf ignore_line
    last_of_each "$RUN/conf.listed" > "$RUN/conf.old"
}

# find_folder DEST: the folder of the root that it goes into, into $folder. Links in the root that lead out of it lead
# into this initramfs: nothing is put there.
find_folder() {
    folder=$(readlink -f "$ROOT${1%/*}") || return 1
    case $folder/ in
    "$ROOT"/*) ;;
    *) return 1 ;;
    esac
}

# install_conf DEST SRC: whole or not at all.
install_conf() {
    local folder mode=644 new
    mkdir -p "$ROOT${1%/*}" 2>> "$RUN/mount.log"
    find_folder "$1" && [ ! -d "$folder/${1##*/}" ] ||
        { say "CONF: $1 is no place for a file in this root: left out" && return 1; }
    new=$folder/.${1##*/}.rootwire
    if ! fetch_patiently fetch_file "$2" "$new"; then
        rm -f "$new"
        say "CONF: $2 is not on $from: $1 stays as it is"
        return 1
    fi
    [ ! -f "$folder/${1##*/}" ] || mode=$(stat -c %a "$folder/${1##*/}")
    chmod "$mode" "$new" && mv -f "$new" "$folder/${1##*/}"
    say "CONF $1 from $2"
}

# install_wanted: prints what is installed afterwards, in the form of the list.
install_wanted() {
    local target origin hash
    while read -r target origin hash; do
        if [ -z "$config_reload_config" ] && [ -e "$ROOT$target" ] && grep -qxF "$target $origin $hash" "$RUN/conf.old"; then
            printf '%s %s %s\n' "$target" "$origin" "$hash" >&3
        elif install_conf "$target" "$origin"; then
            printf '%s %s %s\n' "$target" "$origin" "$hash" >&3
        else
            grep -F "$target " "$RUN/conf.old" >&3 # an older one is still this client's to replace or delete
        fi
    done < "$RUN/conf.wanted" 3> "$RUN/conf.done"
}

delete_unwanted() {
    local target rest folder
    while read -r target rest; do
        cut -d ' ' -f 1 "$RUN/conf.wanted" | grep -qxF "$target" && continue
        find_folder "$target" && rm -f "$folder/${target##*/}" && say "CONF $target is deleted: it is not wanted any more"
    done < "$RUN/conf.old"
}

# keep_conf_list: and the configuration itself, as KIWI does.
keep_conf_list() {
    local target origin hash list=
    while read -r target origin hash; do
        list="$list${list:+,}$origin;$target;${server%%:*};4096${hash:+;$hash}"
    done < "$RUN/conf.done"
    printf "CONF='%s'\n" "$list" > "$ROOT$CONF_LIST"
    cp "$RUN/config" "$ROOT/etc/KIWI/config.$machine_mac"
}

sync_conf() {
    [ -n "$config_conf$config_vendor_conf" ] || [ -f "$ROOT$CONF_LIST" ] || return 0
    mkdir -p "$ROOT/etc/KIWI" 2>> "$RUN/mount.log" && : > "$ROOT/etc/KIWI/.rootwire" ||
        { say 'the root is read-only: CONF is left out; give it UNIONFS_CONFIG' && return; }
    rm "$ROOT/etc/KIWI/.rootwire"
    read_conf
    install_wanted
    delete_unwanted
    keep_conf_list
}
