"""The man pages and the shell completions, made from the same declarations as the program (``make docs``).

    tree                    the command tree as plain data           (from cli.main)
    mdoc, prose             text for people -> mdoc macros           (man/src/*.txt holds the hand-written parts)
    command_pages, overview_page, keys_page, written_pages -> pages  everything in man/
    bash, zsh, fish                                                  everything in completions/
    reference, pictures                                              docs/reference and docs/pictures

All of it is deterministic: the date is that of the newest entry in CHANGELOG.md.
"""
