# Files from the boot server, over HTTP or TFTP.

ANSWER_SECONDS=10   # for a small file: a full house of machines booting delays answers by less
SMALL_BLOCKS=128    # of 512 bytes: real configurations have a few hundred bytes; more is a wrong file
FILE_SECONDS=600    # for CONF's files, kernels, the extra archive
FILE_BLOCKS=1048576 # half a GiB: no kernel, initramfs or configuration is bigger
FILE_BLKSIZE=1428   # fits a frame, so that a lost one costs no more than itself
PATIENCE_SECONDS='1 2 4 8 15'   # between attempts: a server that is starting gets half a minute
DEFAULT_BLKSIZE=512 # of TFTP, as KIWI asks for configurations
time_limit=

# choose_server: the one named by kiwiserver=, else by ip= (PXELINUX), else by DHCP; the first that is named is the
# only one asked.
choose_server() {
    server=$kiwiserver
    [ -n "$server" ] || server=$ip_server
    [ -n "$server" ] || ! is_ipv4 "$lease_siaddr" || server=$lease_siaddr
    [ -n "$server" ] || ! is_ipv4 "$lease_serverid" || server=$lease_serverid
    [ -n "$server" ] || fail 'no boot server known: give kiwiserver=ADDRESS on the kernel command line'
    is_host "$server" || fail "kiwiserver=$(show "$server") is no address: correct the kernel command line"
    case $kiwiservertype in
    http | tftp) ;;
    *) fail "kiwiservertype=$(show "$kiwiservertype") is not spoken by this client: use http or tftp" ;;
    esac
    from=$kiwiservertype://$server
}

# encode PATH: as KIWI's clients do, every character but A-Za-z0-9-_./ as % and lower-case hex; into $encoded.
encode() {
    local rest=$1 after character
    encoded=
    while [ -n "$rest" ]; do
        after=${rest#?}
        character=${rest%"$after"} rest=$after
        case $character in
        [A-Za-z0-9_./-]) encoded=$encoded$character ;;
        *) encoded=$encoded$(printf '%%%02x' "'$character") ;;
        esac
    done
}

# run_fetch PATH FILE BLKSIZE: the tool's own exit status; what it said is in $RUN/fetch.log. Debian's busybox has a
# wget that dies of -T, so $time_limit is put on it from outside: seconds for the whole of a small file, none for an
# image (its watcher ends it).
run_fetch() {
    local host=${server%%:*} port=69
    if [ "$kiwiservertype" = http ]; then
        encode "$1"
        set -- wget -q -O "$2" "http://$server/$encoded"
    else
        [ "$host" = "$server" ] || port=${server#*:}
        set -- tftp -g -r "$1" -l "$2" -b "$3" "$host" "$port"
    fi
    [ -z "$time_limit" ] || set -- timeout "$time_limit" "$@"
    "$@" 2> "$RUN/fetch.log"
}

# fetch PATH FILE [BLKSIZE]: 0 when it is there, 1 when the server has no such file or an empty one, 2 when it can't
# be had now. FILE may be "-" for standard output.
fetch() {
    [ "$2" = - ] || rm -f "$2"
    if run_fetch "$1" "$2" "${3:-$DEFAULT_BLKSIZE}"; then
        [ "$2" = - ] || [ -s "$2" ]
        return
    fi
    case $(cat "$RUN/fetch.log") in
    *'HTTP/1.'[01]' 4'* | *'server error: ('[12]')'*) return 1 ;;
    esac
    return 2
}

# fetch_limited SECONDS BLOCKS PATH FILE [BLKSIZE]: the same, limited in time and, by the kernel, in size.
fetch_limited() (
    time_limit=$1 blocks=$2
    shift 2
    ulimit -f "$blocks"
    fetch "$@" && return
    status=$?
    [ -s "$2" ] || return $status
    say "$1 on $from is bigger than $((blocks / 2)) KiB or came only in part: left out"
    return 1
)

# fetch_small PATH FILE [BLKSIZE]: for files that become this script's data.
fetch_small() { fetch_limited $ANSWER_SECONDS $SMALL_BLOCKS "$@"; }

# fetch_file PATH FILE: for files that go where the configuration says, as they are.
fetch_file() { fetch_limited $FILE_SECONDS $FILE_BLOCKS "$1" "$2" $FILE_BLKSIZE; }

# why_no_answer: what the tool said last; one that timeout ended has nothing to say.
why_no_answer() {
    local reason
    reason=$(tail -n 1 "$RUN/fetch.log")
    case $reason in
    '' | Terminated) reason="nothing came in $ANSWER_SECONDS s" ;;
    esac
    show "$reason"
}

# fetch_patiently FETCHER PATH FILE: fetch_small or fetch_file; 1 when the server has none. One that doesn't answer is
# asked again.
fetch_patiently() {
    local seconds reason status
    for seconds in $PATIENCE_SECONDS 0; do
        "$@"
        status=$?
        [ $status -eq 2 ] || return $status
        reason="$2: $from does not answer ($(why_no_answer))"
        [ "$seconds" -ne 0 ] || fail "$reason: check the server"
        say "$reason: asking again in $seconds s"
        sleep "$seconds"
    done
}
