"""The Typer commands, one module a command group: parse, call one function, hand the result to output."""
