# bash completion for ucrmmail; made by `make docs` from the command tree.
# Commands and options are known here. Only values (keys, queue ids ...) are asked for, of `ucrmmail __complete`.

# Set what can follow a command: commands, options, and the kinds of its arguments.
_ucrmmail_command() {
    commands='' options='' arguments=()
    case $1 in
        '')
            commands='setup login test-connection test-send check-dns doctor enqueue flush status config credentials queue'
            options='--config --version --json -h --help'
            ;;
        /setup)
            options='--address --transport --host --port --encryption --username --password-stdin --store --limits --no-limits --no-test --yes --json -h --help'
            arguments=(address)
            ;;
        /login)
            options='--flow --store --no-browser --json -h --help'
            ;;
        /test-connection)
            options='--recipient --probe --strict --transcript -v --verbose --json -h --help'
            ;;
        /test-send)
            options='--from --subject --attach --html --utf8 --size --count --queue --dry-run --verify-imap --wait --transcript --json -h --help'
            arguments=(address...)
            ;;
        /check-dns)
            options='--nameserver --selector --ip --mail-from --helo --from --spf-pass --dkim-pass --message --private-key --only --ignore --file --save --compare --flatten --strict --plain -q --quiet --zone --panel --blocklists --blocklist --watch --expect --watch-time --explain --json -h --help'
            arguments=(domain...)
            ;;
        /doctor)
            options='--only --skip --timeout --strict -q --quiet --json -h --help'
            ;;
        /enqueue)
            options='--from --to --priority --json -h --help'
            arguments=(file...)
            ;;
        /flush)
            options='--time-limit --message-limit --wait --no-wait --dry-run -v --verbose --json -h --help'
            ;;
        /status)
            options='--json -h --help'
            ;;
        /config)
            commands='set get unset list path check presets edit'
            options='-h --help'
            ;;
        /config/set)
            options='--stdin --store -h --help'
            arguments=(key value...)
            ;;
        /config/get)
            options='--json -h --help'
            arguments=(key)
            ;;
        /config/unset)
            options='-h --help'
            arguments=(key)
            ;;
        /config/list)
            options='--json -h --help'
            ;;
        /config/path)
            options='--json -h --help'
            ;;
        /config/check)
            options='--json -h --help'
            ;;
        /config/presets)
            options='--json -h --help'
            arguments=(preset)
            ;;
        /config/edit)
            options='-h --help'
            ;;
        /credentials)
            commands='status delete'
            options='-h --help'
            ;;
        /credentials/status)
            options='--as-cron --here --json -h --help'
            ;;
        /credentials/delete)
            options='--store --imap --yes --json -h --help'
            ;;
        /queue)
            commands='list show hold release retry remove'
            options='-h --help'
            ;;
        /queue/list)
            options='--state --sender --recipient --json -h --help'
            arguments=(queue-id...)
            ;;
        /queue/show)
            options='--json -h --help'
            arguments=(queue-id)
            ;;
        /queue/hold)
            options='--all --state --sender --recipient --yes --json -h --help'
            arguments=(queue-id...)
            ;;
        /queue/release)
            options='--all --state --sender --recipient --yes --json -h --help'
            arguments=(queue-id...)
            ;;
        /queue/retry)
            options='--all --state --sender --recipient --yes --json -h --help'
            arguments=(queue-id...)
            ;;
        /queue/remove)
            options='--all --state --sender --recipient --yes --json -h --help'
            arguments=(queue-id...)
            ;;
    esac
}

# Set the kind of value that an option of a command takes, none for a flag.
_ucrmmail_option() {
    kind=''
    case "$1 $2" in
        '/setup --address' | '/test-connection --recipient' | '/test-send --from' | '/check-dns --mail-from' | '/check-dns --from' | '/enqueue --from' | '/enqueue --to' | '/queue/list --sender' | '/queue/list --recipient' | '/queue/hold --sender' | '/queue/hold --recipient' | '/queue/release --sender' | '/queue/release --recipient' | '/queue/retry --sender' | '/queue/retry --recipient' | '/queue/remove --sender' | '/queue/remove --recipient')
            kind=address
            ;;
        '/setup --host' | '/setup --port' | '/setup --encryption' | '/setup --username' | '/login --flow' | '/test-send --subject' | '/test-send --size' | '/test-send --count' | '/test-send --verify-imap' | '/test-send --wait' | '/check-dns --nameserver' | '/check-dns --selector' | '/check-dns --ip' | '/check-dns --helo' | '/check-dns --spf-pass' | '/check-dns --dkim-pass' | '/check-dns --only' | '/check-dns --ignore' | '/check-dns --panel' | '/check-dns --blocklist' | '/check-dns --expect' | '/check-dns --watch-time' | '/check-dns --explain' | '/doctor --timeout' | '/flush --time-limit' | '/flush --message-limit')
            kind=any
            ;;
        '/doctor --only' | '/doctor --skip')
            kind=check
            ;;
        ' --config' | '/test-send --attach' | '/check-dns --message' | '/check-dns --private-key' | '/check-dns --file' | '/check-dns --save' | '/check-dns --compare')
            kind=file
            ;;
        '/setup --transport')
            kind=preset
            ;;
        '/enqueue --priority')
            kind=priority
            ;;
        '/queue/list --state' | '/queue/hold --state' | '/queue/release --state' | '/queue/retry --state' | '/queue/remove --state')
            kind=state
            ;;
        '/setup --store' | '/login --store' | '/config/set --store' | '/credentials/delete --store')
            kind=store
            ;;
    esac
}

# Complete with the words given.
_ucrmmail_words() {
    local word
    for word; do
        if [[ $word == "$cur"* ]]; then
            COMPREPLY+=("$word")
        fi
    done
}

# Complete with the names of files. A candidate is a name, never looked at as code.
_ucrmmail_files() {
    compopt -o filenames
    local name
    while IFS= read -r name; do
        COMPREPLY+=("${name#"$behind"}")
    done < <(compgen -f -- "$cur")
}

# Complete with the values of a kind. What is quoted here was written by others, as an address in a message.
_ucrmmail_values() {
    local value quoted
    while IFS=$'\t' read -r value _; do
        if [[ $value == "$cur"* ]]; then
            printf -v quoted %q "${value#"$behind"}"
            COMPREPLY+=("$quoted")
        fi
    done < <(command ucrmmail __complete "$1" ${words[@]+"${words[@]}"} "$cur" 2>/dev/null)
}

_ucrmmail() {
    local IFS=$' \t\n' line=${COMP_LINE:0:COMP_POINT} fragment=${COMP_WORDS[COMP_CWORD]-} words cur behind=''
    # bash parts words at = : and @ as well, so the line is parted anew, at blanks.
    read -ra words <<<"$line"
    if [[ $line == *[[:space:]] ]]; then
        words+=('')
    fi
    cur=${words[-1]}
    words=("${words[@]:1:${#words[@]}-2}")
    # What was typed with quotes is compared without them.
    cur=${cur//[\\\"\']/} fragment=${fragment//[\\\"\']/}
    COMPREPLY=()

    local path='' kind='' pending='' position=1 ended='' word commands options arguments
    for word in ${words[@]+"${words[@]}"}; do
        if [[ $pending ]]; then
            pending=''
        elif [[ -z $ended && $word == -- ]]; then
            ended=yes
        elif [[ -z $ended && $word == -* ]]; then
            _ucrmmail_option "$path" "$word"
            pending=$kind
        else
            _ucrmmail_command "$path"
            if [[ " $commands " == *" $word "* ]]; then
                path+=/$word
            else
                ((position++))
            fi
        fi
    done

    _ucrmmail_command "$path"
    kind=$pending
    if [[ -z $pending && -z $ended && $cur == --*=* ]]; then
        _ucrmmail_option "$path" "${cur%%=*}"
        cur=${cur#*=}
    elif [[ -z $pending && -z $ended && $cur == -* ]]; then
        _ucrmmail_words $options
        return
    elif [[ -z $pending && $commands ]]; then
        _ucrmmail_words $commands
        return
    elif [[ -z $pending ]]; then
        local last=''
        if ((${#arguments[@]})); then
            last=${arguments[-1]}
        fi
        kind=${arguments[position - 1]-}
        if [[ -z $kind && $last == *... ]]; then
            kind=$last
        fi
        kind=${kind%...}
    fi
    # What stands before the part of the word that bash replaces is left out of the candidates.
    if [[ $fragment != [=:] && $cur == *"$fragment" ]]; then
        behind=${cur%"$fragment"}
        # An at sign before it is replaced too.
        behind=${behind%@}
    fi
    case $kind in
        '' | any) ;;
        file) _ucrmmail_files ;;
        value) if [[ $cur == [/~.]* ]]; then _ucrmmail_files; else _ucrmmail_values value; fi ;;
        *) _ucrmmail_values "$kind" ;;
    esac
    if [[ -z $kind && -z $ended && -z $cur ]]; then
        _ucrmmail_words $options
    fi
}

complete -F _ucrmmail ucrmmail
