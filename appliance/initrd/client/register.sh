# A machine that no configuration is for: it registers with the server, then asks until somebody has enrolled it.
# KIWI's client asks for ever; this one begins anew after an hour, since its address is only lent.

POLL_ROUNDS=60         # of rootwire.poll= seconds
REGISTRATION_SECONDS=10

# write_registration FILE: KIWI's four lines. Nobody is asked for the machine's name: there may be no keyboard.
write_registration() {
    printf 'NCNAME=undefined\nCRNAME=undefined\nIPADDR=%s\nARCHITECTURE=%s\n' "$lease_ip" "$(uname -m)" > "$1"
}

# upload FILE PATH: over the protocol that files come by. Busybox's wget can't PUT, so that is spoken here; the pipe is
# kept open until the answer is there, since a closed one would look like a client that left.
upload() {
    local host=${server%%:*} port answer
    if [ "$kiwiservertype" = tftp ]; then
        port=69
        [ "$host" = "$server" ] || port=${server#*:}
        timeout $REGISTRATION_SECONDS tftp -p -l "$1" -r "$2" "$host" "$port" 2> "$RUN/fetch.log"
        return
    fi
    port=80
    [ "$host" = "$server" ] || port=${server#*:}
    encode "$2"
    rm -f "$RUN/request" && mkfifo "$RUN/request" && exec 8<> "$RUN/request" || return 1
    {
        printf 'PUT /%s HTTP/1.0\r\nHost: %s\r\nContent-Length: %s\r\n\r\n' "$encoded" "$server" "$(stat -c %s "$1")"
        cat "$1"
    } >&8
    answer=$(timeout $REGISTRATION_SECONDS nc "$host" "$port" <&8 2> "$RUN/fetch.log" | head -n 1)
    exec 8>&-
    case $answer in
    'HTTP/1.'[01]' 2'*) return 0 ;;
    ?*) printf '%s\n' "$answer" > "$RUN/fetch.log" ;;
    esac
    return 1
}

# register MAC: once, as KIWI's client; that nobody took it is no reason not to ask for a configuration.
register() {
    write_registration "$RUN/registration"
    if upload "$RUN/registration" "upload/client.$1"; then
        say "registered as upload/client.$1 on $from"
    else
        say "$from did not take upload/client.$1 ($(why_no_answer)): going on without"
    fi
}

# await_enrolment MAC: returns when a configuration is there.
await_enrolment() {
    local round
    say "no KIWI/config.* for $1 on $from: registering this machine"
    register "$1"
    say "waiting to be enrolled; asking every $poll_seconds s"
    for round in $(seq $POLL_ROUNDS); do
        sleep "$poll_seconds"
        ! find_config "$1" "$lease_ip" || return 0
    done
    fail "nobody enrolled $1 in $((POLL_ROUNDS * poll_seconds)) s: write KIWI/config.$1 on the server"
}
