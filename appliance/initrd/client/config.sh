# The KIWI configuration file, read as data: never sourced, never evaluated.
#
# A line is  KEY=value, KEY='value' or KEY="value"  with KEY at column 1. As in KIWI, quotes reach to the last one of
# the line and text behind it stays part of the value; a backslash stands for the character after it; blank lines and
# comments don't count. Anything else is named and left out (KIWI's own client would run it as a command): other
# lines, quotes that don't close, lines that end in a backslash. A carriage return at the end of a line is dropped.

REFUSALS_SHOWN=5       # lines named on the console; the others are only counted, or a web page would fill the screen

# unescape TEXT: each backslash and character become that character; into $unescaped.
unescape() {
    local rest=$1 after
    unescaped=
    while [ "$rest" != "${rest#*\\}" ]; do
        unescaped=$unescaped${rest%%\\*} rest=${rest#*\\}
        [ -n "$rest" ] || rest=\\ # the last one has no character to stand for
        after=${rest#?}
        unescaped=$unescaped${rest%"$after"} rest=$after
    done
    unescaped=$unescaped$rest
}

# unquote TEXT: without the first and the last quote, if it begins with one; into $unquoted. Fails if the quote
# doesn't close.
unquote() {
    local quote rest
    unquoted=$1
    case $1 in
    \'* | \"*) ;;
    *) return 0 ;;
    esac
    rest=${1#?} quote=${1%"$rest"}
    [ "$rest" != "${rest%"$quote"*}" ] || return 1
    unquoted=${rest%"$quote"*}${rest##*"$quote"}
}

# parse_line LINE: into $key and $value, or the reason why not into $refusal. A line without content has neither.
parse_line() {
    local line=${1%"$CARRIAGE_RETURN"}
    key= value= refusal=
    case ${line#"${line%%[! 	]*}"} in
    '' | '#'*) return ;;
    esac
    case $line in
    *=*) key=${line%%=*} ;;
    *) refusal='it is not KEY=value' && return ;;
    esac
    case $key in
    '' | [0-9]* | *[!A-Za-z0-9_]*) refusal='it is not KEY=value' ;;
    esac
    case $line in
    *\\) refusal='it is continued on the next line' ;;
    esac
    [ -n "$refusal" ] || unquote "${line#*=}" || refusal='its quote is not closed'
    [ -z "$refusal" ] || return 0
    unescape "$unquoted"
    value=$unescaped
}

# parse_config FILE TAKE REFUSE: calls "TAKE KEY VALUE" for each assignment, "REFUSE NUMBER LINE REASON" for each
# other line.
parse_config() {
    local line number=0
    while IFS= read -r line || [ -n "$line" ]; do
        number=$((number + 1))
        parse_line "$line"
        if [ -n "$refusal" ]; then
            "$3" $number "$line" "$refusal"
        elif [ -n "$key" ]; then
            "$2" "$key" "$value"
        fi
    done < "$1"
}

refuse_config_line() {
    refused_count=$((refused_count + 1))
    [ $refused_count -gt $REFUSALS_SHOWN ] || say "config: line $1 left out, $3: $(show "$2")"
}

# read_config FILE NAME: into the config_ variables, over what they hold.
read_config() {
    taken_count=0 refused_count=0
    : > "$RUN/lists"
    parse_config "$1" take_config_value refuse_config_line
    [ $refused_count -le $REFUSALS_SHOWN ] || say "config: $refused_count lines left out in all"
    [ $taken_count -gt 0 ] || fail "$2 on $from holds no KEY=value line: correct the file"
}
