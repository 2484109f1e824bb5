"""The Typer commands, one module a command group: parse, call one function, hand the result to output.

Building the command tree imports every module here, so each imports what it uses inside its functions.
"""
