# What the operator sees: one line a step, each beginning with "rootwire: ", and the one way to fail.

REBOOT_SECONDS=30      # long enough to read the line on a screen; short, as a repaired server wants its machines back
SHOWN_CHARACTERS=200   # of any text that came over the network

say() { printf 'rootwire: %s\n' "$*"; }

# show TEXT: text from the network, without the control characters that could drive a terminal.
show() { printf "%.${SHOWN_CHARACTERS}s" "$1" | tr -dc '\040-\176'; }

# clock: hundredths of a second since the kernel started, into $now.
clock() {
    local up rest
    read -r up rest < /proc/uptime
    now=$((${up%.*} * 100 + 1${up#*.} - 100))
}

# elapsed_since MARK: seconds with one decimal since $now was MARK, into $elapsed.
elapsed_since() {
    clock
    local tenths=$(((now - $1 + 5) / 10))
    elapsed=$((tenths / 10)).$((tenths % 10))
}

# fail MESSAGE: say it once, offer a shell if rootwire.debug was given, wait, reboot. Never hangs without saying so.
fail() {
    trap - EXIT
    say "FAILED: $*"
    if [ -n "$debug" ]; then
        say 'rootwire.debug: a shell on the console; leave it with exit to reboot'
        setsid cttyhack sh
    fi
    case $panic in
    0) say 'waiting for ever, since the command line has panic=0' && while :; do sleep 3600; done ;;
    -*) say 'rebooting at once' ;;
    *) say "rebooting in $panic s" && sleep "$panic" ;;
    esac
    reboot -f
    echo b > /proc/sysrq-trigger
    while :; do sleep 1; done # the kernel is on its way down; returning would be a kernel panic
}
