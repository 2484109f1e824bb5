"""The documentation as a program: every command in README.md and docs/ is run, and what is shown as its output comes.

blocks      what a page says: commands with the output that is shown, files, and what a reader would type
world       a network in which the names of the pages exist: providers, a smarthost, the DNS
servers     what runs in it (a process of its own)
session     a machine for one page: a user with a home, and root
output      output as it is compared: times, ids and durations stand for any
not_run     the commands that cannot be run here, each with its reason; they are parsed all the same
record      ``python -m tests.docs.record PAGE...``: writes what came into the page, for the author to read
"""
