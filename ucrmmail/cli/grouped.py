"""``--help`` in groups: options by what they are for, commands by the part of the day that they belong to.

Typer groups by ``rich_help_panel`` in its rich form only, which costs 115 ms a start; here the plain form does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_OTHERS = "Other options"


def in_groups(params: Iterable[Any]) -> dict[str, list[Any]]:
    """Return options by the name of their group, in the order of their declaration; "" for those without, last."""
    found: dict[str, list[Any]] = {}
    for param in params:
        found.setdefault(getattr(param, "rich_help_panel", None) or "", []).append(param)
    rest = found.pop("", [])
    return {**found, "": rest} if rest else found


class GroupedCommand(TyperCommand):
    """A command with so many options that they are shown in groups."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the arguments, then each group of options."""
        params = self.get_params(ctx)
        arguments = [param for param in params if param.param_type_name == "argument"]
        _section(formatter, "Arguments", [param.get_help_record(ctx) for param in arguments])
        groups = in_groups(param for param in params if param.param_type_name == "option")
        for name, options in groups.items():
            _section(formatter, name or _OTHERS, [option.get_help_record(ctx) for option in options])


class Day(TyperGroup):
    """The commands in the groups of an administrator's day; ``groups`` has their names, by the name of the group."""

    groups: Mapping[str, Sequence[str]]

    def format_commands(self, _ctx: Any, formatter: Any) -> None:
        """Write each group of commands, all of them in columns of one width."""
        width = max(map(len, self.commands))
        room = formatter.width - 6 - width
        for title, names in self.groups.items():
            rows = [
                (name.ljust(width), self.commands[name].get_short_help_str(room))
                for name in names
                if name in self.commands
            ]
            _section(formatter, title, rows)


def _section(formatter: Any, title: str, rows: Sequence[tuple[str, str] | None]) -> None:
    if shown := [row for row in rows if row is not None]:
        with formatter.section(title):
            formatter.write_dl(shown)
