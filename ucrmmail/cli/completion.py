"""What the shell completes: keys, their values, and presets."""

from __future__ import annotations

import typer  # typer reads the annotations of what it calls


def complete_key(incomplete: str) -> list[str]:
    """Return the keys that begin so."""
    from ucrmmail.config.schema import KEYS

    return [path for path in KEYS if path.startswith(incomplete)]


def complete_value(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the values of the key before it that begin so, where they can be listed."""
    from ucrmmail.config.schema import KEYS

    key = KEYS.get(str(ctx.params.get("key", "")))
    return [word for word in key.kind.choices if word.startswith(incomplete)] if key is not None else []


def complete_preset(incomplete: str) -> list[str]:
    """Return the presets whose names begin so."""
    from ucrmmail.config.presets import NAMES

    return [name for name in NAMES if name.startswith(incomplete)]
