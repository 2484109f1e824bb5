# fish completion for ucrmmail; made by `make docs` from the command tree.
# Commands and options are known here. Only values (keys, queue ids ...) are asked for, of `ucrmmail __complete`.

set -g __ucrmmail_commands \
    /setup \
    /login \
    /test-connection \
    /test-send \
    /check-dns \
    /doctor \
    /enqueue \
    /flush \
    /status \
    /config \
    /config/set \
    /config/get \
    /config/unset \
    /config/list \
    /config/path \
    /config/check \
    /config/presets \
    /config/edit \
    /credentials \
    /credentials/status \
    /credentials/delete \
    /queue \
    /queue/list \
    /queue/show \
    /queue/hold \
    /queue/release \
    /queue/retry \
    /queue/remove
set -g __ucrmmail_options_with_value \
    ' --config' \
    '/setup --address' \
    '/setup --transport' \
    '/setup --host' \
    '/setup --port' \
    '/setup --encryption' \
    '/setup --username' \
    '/setup --store' \
    '/login --flow' \
    '/login --store' \
    '/test-connection --recipient' \
    '/test-send --from' \
    '/test-send --subject' \
    '/test-send --attach' \
    '/test-send --size' \
    '/test-send --count' \
    '/test-send --verify-imap' \
    '/test-send --wait' \
    '/check-dns --nameserver' \
    '/check-dns --selector' \
    '/check-dns --ip' \
    '/check-dns --mail-from' \
    '/check-dns --helo' \
    '/check-dns --from' \
    '/check-dns --spf-pass' \
    '/check-dns --dkim-pass' \
    '/check-dns --message' \
    '/check-dns --private-key' \
    '/check-dns --only' \
    '/check-dns --ignore' \
    '/check-dns --file' \
    '/check-dns --save' \
    '/check-dns --compare' \
    '/check-dns --panel' \
    '/check-dns --blocklist' \
    '/check-dns --expect' \
    '/check-dns --watch-time' \
    '/check-dns --explain' \
    '/doctor --only' \
    '/doctor --skip' \
    '/doctor --timeout' \
    '/enqueue --from' \
    '/enqueue --to' \
    '/enqueue --priority' \
    '/flush --time-limit' \
    '/flush --message-limit' \
    '/config/set --store' \
    '/credentials/delete --store' \
    '/queue/list --state' \
    '/queue/list --sender' \
    '/queue/list --recipient' \
    '/queue/hold --state' \
    '/queue/hold --sender' \
    '/queue/hold --recipient' \
    '/queue/release --state' \
    '/queue/release --sender' \
    '/queue/release --recipient' \
    '/queue/retry --state' \
    '/queue/retry --sender' \
    '/queue/retry --recipient' \
    '/queue/remove --state' \
    '/queue/remove --sender' \
    '/queue/remove --recipient'

# Print the command before the cursor, as /config/set, and which of its arguments the cursor is at.
function __ucrmmail_place
    set -l path ''
    set -l position 1
    set -l pending 0
    set -l ended 0
    set -l words (commandline -opc)
    set -e words[1]
    for word in $words
        if test $pending = 1
            set pending 0
        else if test $ended = 0 -a "$word" = --
            set ended 1
        else if test $ended = 0; and string match -q -- '-*' "$word"
            contains -- "$path $word" $__ucrmmail_options_with_value; and set pending 1
        else if contains -- "$path/$word" $__ucrmmail_commands
            set path "$path/$word"
        else
            set position (math $position + 1)
        end
    end
    echo $path
    echo $position
end

# Whether the cursor is behind the command PATH, and at its argument FIRST to LAST.
function __ucrmmail_at
    set -l place (__ucrmmail_place)
    test "$place[1]" = "$argv[1]"; or return 1
    set -q argv[2]; or return 0
    test $place[2] -ge $argv[2]; or return 1
    set -q argv[3]; or return 0
    test $place[2] -le $argv[3]
end

# Print the values of a kind with their descriptions.
function __ucrmmail_values
    set -l words (commandline -opc)
    set -e words[1]
    set -l current (commandline -ct)
    # fish asks for arguments too where an option is being typed, or a path.
    string match -qr '^-[^=]*$' -- "$current"; and return
    test "$argv[1]" = value; and string match -qr '^[/~.]' -- "$current"; and return
    command ucrmmail __complete $argv[1] $words "$current" 2>/dev/null
end

complete -c ucrmmail -f
complete -c ucrmmail -n '__ucrmmail_at \'\' 1 1' -a setup -d 'Set up the account, asking only what cannot be known'
complete -c ucrmmail -n '__ucrmmail_at \'\' 1 1' -a login -d 'Sign in with OAuth 2.0, to send without a password'
complete -c ucrmmail -n '__ucrmmail_at \'\' 1 1' -a test-connection -d 'Test each stage of a session, and send nothing'
complete -c ucrmmail -n '__ucrmmail_at \'\' 1 1' -a test-send -d 'Send a test message at once, and show each stage'
complete -c ucrmmail -n '__ucrmmail_at \'\' 1 1' -a check-dns -d 'Check SPF, DKIM and DMARC of your domains'
complete -c ucrmmail -n '__ucrmmail_at \'\' 1 1' -a doctor -d 'Check all that mail needs to go out, and change nothing'
complete -c ucrmmail -n '__ucrmmail_at \'\' 1 1' -a enqueue -d 'Queue message files, and print a queue id for each'
complete -c ucrmmail -n '__ucrmmail_at \'\' 1 1' -a flush -d 'Send what is queued, within the limits'
complete -c ucrmmail -n '__ucrmmail_at \'\' 1 1' -a status -d 'Show what waits, the limits, and how the last run ended'
complete -c ucrmmail -n '__ucrmmail_at \'\' 1 1' -a config -d 'Set, show and check the configuration'
complete -c ucrmmail -n '__ucrmmail_at \'\' 1 1' -a credentials -d 'See where the account\'s secret comes from, or delete it'
complete -c ucrmmail -n '__ucrmmail_at \'\' 1 1' -a queue -d 'See, hold, release, retry and remove queued messages'
complete -c ucrmmail -n '__ucrmmail_at \'\'' -l config -r -F -d 'Use this configuration file (before UCRMMAIL_CONFIG)'
complete -c ucrmmail -n '__ucrmmail_at \'\'' -l version -d 'Show the version and exit'
complete -c ucrmmail -n '__ucrmmail_at \'\'' -l json -d 'With --version: Python, libraries and paths too'
complete -c ucrmmail -n '__ucrmmail_at \'\'' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /setup' -l address -x -a '(__ucrmmail_values address)' -d 'The same, as an option'
complete -c ucrmmail -n '__ucrmmail_at /setup' -l transport -x -a '(__ucrmmail_values preset)' -d 'The provider, see `ucrmmail config presets`'
complete -c ucrmmail -n '__ucrmmail_at /setup' -l host -x -d 'The smarthost'
complete -c ucrmmail -n '__ucrmmail_at /setup' -l port -x -d 'Its port; without one the usual are tried'
complete -c ucrmmail -n '__ucrmmail_at /setup' -l encryption -x -d 'tls, starttls or none'
complete -c ucrmmail -n '__ucrmmail_at /setup' -l username -x -d 'The user name, the address by default; "" for no login'
complete -c ucrmmail -n '__ucrmmail_at /setup' -l password-stdin -d 'Read the password from the first line of standard input'
complete -c ucrmmail -n '__ucrmmail_at /setup' -l store -x -a '(__ucrmmail_values store)' -d 'Where it is kept: keyring, file or command'
complete -c ucrmmail -n '__ucrmmail_at /setup' -l limits -d 'Set the limits that the provider publishes, or not'
complete -c ucrmmail -n '__ucrmmail_at /setup' -l no-limits -d 'Set the limits that the provider publishes, or not'
complete -c ucrmmail -n '__ucrmmail_at /setup' -l no-test -d 'Write the settings without a test'
complete -c ucrmmail -n '__ucrmmail_at /setup' -l yes -d 'Answer yes to every question but those for a value'
complete -c ucrmmail -n '__ucrmmail_at /setup' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /setup' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /setup 1 1' -a '(__ucrmmail_values address)'
complete -c ucrmmail -n '__ucrmmail_at /login' -l flow -x -d 'client-credentials, device-code, authorization-code or service-account; it is recorded'
complete -c ucrmmail -n '__ucrmmail_at /login' -l store -x -a '(__ucrmmail_values store)' -d 'Where the token is kept: keyring or file'
complete -c ucrmmail -n '__ucrmmail_at /login' -l no-browser -d 'Open no browser: take the address on standard input'
complete -c ucrmmail -n '__ucrmmail_at /login' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /login' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /test-connection' -l recipient -x -a '(__ucrmmail_values address)' -d 'Ask for this recipient, not for the sender'
complete -c ucrmmail -n '__ucrmmail_at /test-connection' -l probe -d 'Try the usual ports without a login, and propose settings'
complete -c ucrmmail -n '__ucrmmail_at /test-connection' -l strict -d 'Exit 1 when there is a warning'
complete -c ucrmmail -n '__ucrmmail_at /test-connection' -l transcript -d 'Show the dialogue, without secrets'
complete -c ucrmmail -n '__ucrmmail_at /test-connection' -s v -l verbose -d 'Show what the server offers, as a table'
complete -c ucrmmail -n '__ucrmmail_at /test-connection' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /test-connection' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /test-send' -l from -x -a '(__ucrmmail_values address)' -d 'Send from this address'
complete -c ucrmmail -n '__ucrmmail_at /test-send' -l subject -x -d 'The subject'
complete -c ucrmmail -n '__ucrmmail_at /test-send' -l attach -r -F -d 'Send this file along; repeatable'
complete -c ucrmmail -n '__ucrmmail_at /test-send' -l html -d 'Send the text as HTML too'
complete -c ucrmmail -n '__ucrmmail_at /test-send' -l utf8 -d 'Use letters outside ASCII as they are: asks for 8BITMIME and SMTPUTF8'
complete -c ucrmmail -n '__ucrmmail_at /test-send' -l size -x -d 'Make the message this large, such as 5MB'
complete -c ucrmmail -n '__ucrmmail_at /test-send' -l count -x -d 'Send N messages in one session'
complete -c ucrmmail -n '__ucrmmail_at /test-send' -l queue -d 'Put it into the queue; the next flush sends it'
complete -c ucrmmail -n '__ucrmmail_at /test-send' -l dry-run -d 'Send nothing: print the message as it would go'
complete -c ucrmmail -n '__ucrmmail_at /test-send' -l verify-imap -x -d 'Wait for it in the mailbox there, and prove it'
complete -c ucrmmail -n '__ucrmmail_at /test-send' -l wait -x -d 'How long to wait for it there, instead of 2m'
complete -c ucrmmail -n '__ucrmmail_at /test-send' -l transcript -d 'Show the dialogue, without secrets'
complete -c ucrmmail -n '__ucrmmail_at /test-send' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /test-send' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /test-send 1' -a '(__ucrmmail_values address)'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l nameserver -x -d 'Ask this server: HOST or HOST:PORT'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l selector -x -d 'A DKIM selector that must have a key'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l ip -x -d 'Give the SPF result for this client address (RFC 7208)'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l mail-from -x -a '(__ucrmmail_values address)' -d 'With --ip: the reverse-path ("": the HELO identity)'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l helo -x -d 'With --ip: the HELO name'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l from -x -a '(__ucrmmail_values address)' -d 'Give the DMARC result for a message from this address'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l spf-pass -x -d 'With --from: the domains for which SPF passed'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l dkim-pass -x -d 'With --from: the domains for which DKIM passed'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l message -r -F -d 'Verify the DKIM signatures of this message, and its DMARC'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l private-key -r -F -d 'With --selector: is this the key that is published?'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l only -x -d 'Only these checks, such as spf,dmarc'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l ignore -x -d 'Leave this finding out'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l file -r -F -d 'Read domains from a file, one a line (-: standard input)'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l save -r -F -d 'Keep what was found, for --compare'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l compare -r -F -d 'Tell only what has changed since --save'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l flatten -d 'Propose SPF without includes too'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l strict -d 'Exit with 1 for warnings too'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l plain -d 'Plain lines without colour, also on a terminal'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -s q -l quiet -d 'Show only what is wrong'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l zone -d 'Print the proposed records as a zone file'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l panel -x -d 'Tell the steps for this DNS panel, such as cpanel'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l blocklists -d 'Ask the usual blocklists about the domain and sending addresses'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l blocklist -x -d 'Ask this blocklist'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l watch -d 'Wait until all servers of the zone show good records'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l expect -x -d 'With --watch: until this record is among them'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l watch-time -x -d 'With --watch: give up after this time'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l explain -x -d 'Say what a finding means, and exit'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /check-dns' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /check-dns 1' -a '(__ucrmmail_values domain)'
complete -c ucrmmail -n '__ucrmmail_at /doctor' -l only -x -a '(__ucrmmail_values check)' -d 'Only these checks, such as queue,flush'
complete -c ucrmmail -n '__ucrmmail_at /doctor' -l skip -x -a '(__ucrmmail_values check)' -d 'All but these checks, such as dns'
complete -c ucrmmail -n '__ucrmmail_at /doctor' -l timeout -x -d 'How long a server may take for an answer'
complete -c ucrmmail -n '__ucrmmail_at /doctor' -l strict -d 'Exit 1 for warnings too'
complete -c ucrmmail -n '__ucrmmail_at /doctor' -s q -l quiet -d 'Show only what is wrong'
complete -c ucrmmail -n '__ucrmmail_at /doctor' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /doctor' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /enqueue' -l from -x -a '(__ucrmmail_values address)' -d 'Where bounces go ("<>": nowhere)'
complete -c ucrmmail -n '__ucrmmail_at /enqueue' -l to -x -a '(__ucrmmail_values address)' -d 'Send to this address, not to those in the header; repeatable'
complete -c ucrmmail -n '__ucrmmail_at /enqueue' -l priority -x -a '(__ucrmmail_values priority)' -d 'urgent, normal or bulk; else what the header says'
complete -c ucrmmail -n '__ucrmmail_at /enqueue' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /enqueue' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /enqueue 1' -F
complete -c ucrmmail -n '__ucrmmail_at /flush' -l time-limit -x -d 'Begin no message after this time, such as 50s'
complete -c ucrmmail -n '__ucrmmail_at /flush' -l message-limit -x -d 'Begin at most N messages (0: no limit)'
complete -c ucrmmail -n '__ucrmmail_at /flush' -l wait -d 'Sleep through pauses that fit the time limit, or leave at once'
complete -c ucrmmail -n '__ucrmmail_at /flush' -l no-wait -d 'Sleep through pauses that fit the time limit, or leave at once'
complete -c ucrmmail -n '__ucrmmail_at /flush' -l dry-run -d 'Send nothing: show what would go, and when'
complete -c ucrmmail -n '__ucrmmail_at /flush' -s v -l verbose -d 'Print a line for each recipient'
complete -c ucrmmail -n '__ucrmmail_at /flush' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /flush' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /status' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /status' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /config 1 1' -a set -d 'Set a key of the configuration'
complete -c ucrmmail -n '__ucrmmail_at /config 1 1' -a get -d 'Print the value that applies'
complete -c ucrmmail -n '__ucrmmail_at /config 1 1' -a unset -d 'Take a key out of the file, so that its default applies again'
complete -c ucrmmail -n '__ucrmmail_at /config 1 1' -a list -d 'Show every key with its value, its default and its origin'
complete -c ucrmmail -n '__ucrmmail_at /config 1 1' -a path -d 'Print which file applies; on standard error, why'
complete -c ucrmmail -n '__ucrmmail_at /config 1 1' -a check -d 'Show all that is wrong, and what is probably not meant'
complete -c ucrmmail -n '__ucrmmail_at /config 1 1' -a presets -d 'Show the providers known by name, and the limits they publish'
complete -c ucrmmail -n '__ucrmmail_at /config 1 1' -a edit -d 'Edit the file in $VISUAL or $EDITOR'
complete -c ucrmmail -n '__ucrmmail_at /config' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /config/set' -l stdin -d 'Read the value from standard input (of a secret: the first line)'
complete -c ucrmmail -n '__ucrmmail_at /config/set' -l store -x -a '(__ucrmmail_values store)' -d 'Where a secret is kept: keyring, file or command'
complete -c ucrmmail -n '__ucrmmail_at /config/set' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /config/set 1 1' -a '(__ucrmmail_values key)'
complete -c ucrmmail -n '__ucrmmail_at /config/set 2' -a '(__ucrmmail_values value)'
complete -c ucrmmail -n '__ucrmmail_at /config/set 2; and string match -qr "^[/~.]" -- (commandline -ct)' -F
complete -c ucrmmail -n '__ucrmmail_at /config/get' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /config/get' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /config/get 1 1' -a '(__ucrmmail_values key)'
complete -c ucrmmail -n '__ucrmmail_at /config/unset' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /config/unset 1 1' -a '(__ucrmmail_values key)'
complete -c ucrmmail -n '__ucrmmail_at /config/list' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /config/list' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /config/path' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /config/path' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /config/check' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /config/check' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /config/presets' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /config/presets' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /config/presets 1 1' -a '(__ucrmmail_values preset)'
complete -c ucrmmail -n '__ucrmmail_at /config/edit' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /credentials 1 1' -a status -d 'Tell which source has the secret: here, and as cron would see it'
complete -c ucrmmail -n '__ucrmmail_at /credentials 1 1' -a delete -d 'Delete the account\'s secret from its source, its OAuth token too'
complete -c ucrmmail -n '__ucrmmail_at /credentials' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /credentials/status' -l as-cron -d 'Look only with the environment that cron gives, or only with this one'
complete -c ucrmmail -n '__ucrmmail_at /credentials/status' -l here -d 'Look only with the environment that cron gives, or only with this one'
complete -c ucrmmail -n '__ucrmmail_at /credentials/status' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /credentials/status' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /credentials/delete' -l store -x -a '(__ucrmmail_values store)' -d 'From keyring or file, instead of the configured source'
complete -c ucrmmail -n '__ucrmmail_at /credentials/delete' -l imap -d 'The mailbox\'s, imap.password, instead of the account\'s'
complete -c ucrmmail -n '__ucrmmail_at /credentials/delete' -l yes -d 'Do not ask'
complete -c ucrmmail -n '__ucrmmail_at /credentials/delete' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /credentials/delete' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /queue 1 1' -a list -d 'List the messages'
complete -c ucrmmail -n '__ucrmmail_at /queue 1 1' -a show -d 'Show a message, and what became of each recipient'
complete -c ucrmmail -n '__ucrmmail_at /queue 1 1' -a hold -d 'Keep messages from being sent until they are released'
complete -c ucrmmail -n '__ucrmmail_at /queue 1 1' -a release -d 'Let held messages be sent again'
complete -c ucrmmail -n '__ucrmmail_at /queue 1 1' -a retry -d 'Try deferred messages now, and failed ones from the start'
complete -c ucrmmail -n '__ucrmmail_at /queue 1 1' -a remove -d 'Remove messages for good'
complete -c ucrmmail -n '__ucrmmail_at /queue' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /queue/list' -l state -x -a '(__ucrmmail_values state)' -d 'Only messages in this state: waiting, deferred, held or failed'
complete -c ucrmmail -n '__ucrmmail_at /queue/list' -l sender -x -a '(__ucrmmail_values address)' -d 'Only with this reverse-path, or @domain'
complete -c ucrmmail -n '__ucrmmail_at /queue/list' -l recipient -x -a '(__ucrmmail_values address)' -d 'Only to this recipient, or @domain'
complete -c ucrmmail -n '__ucrmmail_at /queue/list' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /queue/list' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /queue/list 1' -a '(__ucrmmail_values queue-id)'
complete -c ucrmmail -n '__ucrmmail_at /queue/show' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /queue/show' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /queue/show 1 1' -a '(__ucrmmail_values queue-id)'
complete -c ucrmmail -n '__ucrmmail_at /queue/hold' -l all -d 'All messages for which it makes sense'
complete -c ucrmmail -n '__ucrmmail_at /queue/hold' -l state -x -a '(__ucrmmail_values state)' -d 'Only messages in this state: waiting, deferred, held or failed'
complete -c ucrmmail -n '__ucrmmail_at /queue/hold' -l sender -x -a '(__ucrmmail_values address)' -d 'Only with this reverse-path, or @domain'
complete -c ucrmmail -n '__ucrmmail_at /queue/hold' -l recipient -x -a '(__ucrmmail_values address)' -d 'Only to this recipient, or @domain'
complete -c ucrmmail -n '__ucrmmail_at /queue/hold' -l yes -d 'Do not ask'
complete -c ucrmmail -n '__ucrmmail_at /queue/hold' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /queue/hold' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /queue/hold 1' -a '(__ucrmmail_values queue-id)'
complete -c ucrmmail -n '__ucrmmail_at /queue/release' -l all -d 'All messages for which it makes sense'
complete -c ucrmmail -n '__ucrmmail_at /queue/release' -l state -x -a '(__ucrmmail_values state)' -d 'Only messages in this state: waiting, deferred, held or failed'
complete -c ucrmmail -n '__ucrmmail_at /queue/release' -l sender -x -a '(__ucrmmail_values address)' -d 'Only with this reverse-path, or @domain'
complete -c ucrmmail -n '__ucrmmail_at /queue/release' -l recipient -x -a '(__ucrmmail_values address)' -d 'Only to this recipient, or @domain'
complete -c ucrmmail -n '__ucrmmail_at /queue/release' -l yes -d 'Do not ask'
complete -c ucrmmail -n '__ucrmmail_at /queue/release' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /queue/release' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /queue/release 1' -a '(__ucrmmail_values queue-id)'
complete -c ucrmmail -n '__ucrmmail_at /queue/retry' -l all -d 'All messages for which it makes sense'
complete -c ucrmmail -n '__ucrmmail_at /queue/retry' -l state -x -a '(__ucrmmail_values state)' -d 'Only messages in this state: waiting, deferred, held or failed'
complete -c ucrmmail -n '__ucrmmail_at /queue/retry' -l sender -x -a '(__ucrmmail_values address)' -d 'Only with this reverse-path, or @domain'
complete -c ucrmmail -n '__ucrmmail_at /queue/retry' -l recipient -x -a '(__ucrmmail_values address)' -d 'Only to this recipient, or @domain'
complete -c ucrmmail -n '__ucrmmail_at /queue/retry' -l yes -d 'Do not ask'
complete -c ucrmmail -n '__ucrmmail_at /queue/retry' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /queue/retry' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /queue/retry 1' -a '(__ucrmmail_values queue-id)'
complete -c ucrmmail -n '__ucrmmail_at /queue/remove' -l all -d 'All messages for which it makes sense'
complete -c ucrmmail -n '__ucrmmail_at /queue/remove' -l state -x -a '(__ucrmmail_values state)' -d 'Only messages in this state: waiting, deferred, held or failed'
complete -c ucrmmail -n '__ucrmmail_at /queue/remove' -l sender -x -a '(__ucrmmail_values address)' -d 'Only with this reverse-path, or @domain'
complete -c ucrmmail -n '__ucrmmail_at /queue/remove' -l recipient -x -a '(__ucrmmail_values address)' -d 'Only to this recipient, or @domain'
complete -c ucrmmail -n '__ucrmmail_at /queue/remove' -l yes -d 'Do not ask'
complete -c ucrmmail -n '__ucrmmail_at /queue/remove' -l json -d 'Print one JSON document instead of text'
complete -c ucrmmail -n '__ucrmmail_at /queue/remove' -s h -l help -d 'Show what it does, its options and examples'
complete -c ucrmmail -n '__ucrmmail_at /queue/remove 1' -a '(__ucrmmail_values queue-id)'
