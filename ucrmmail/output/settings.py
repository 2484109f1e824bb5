"""How the configuration looks: every key with value, default and origin; presets; what ``config check`` found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ucrmmail.config.schema import KEYS
from ucrmmail.output import human

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ucrmmail.config.advice import Advice
    from ucrmmail.config.load import Config
    from ucrmmail.config.presets import Preset
    from ucrmmail.config.validate import Problem


def shown(key: str, value: object) -> str:
    """Return a value of a key as it would be typed; "" for none."""
    match value:
        case bool():
            return str(value).lower()
        case list():
            return KEYS[key].kind.join([str(item) for item in value])
        case _:
            return str(value)


def key_document(config: Config, key: str) -> dict[str, object]:
    """Return the JSON fields of one key; of a secret only whether the configuration says where it is kept."""
    if KEYS[key].secret:
        recorded = config.is_set("credentials.source")
        origin = f"credential store ({config.text('credentials.source')})" if recorded else "default"
        return {"value": None, "default": None, "origin": origin, "secret": True, "stored": recorded}
    return {"value": config.written(key), "default": config.default(key), "origin": config.origin(key)}


def list_document(config: Config) -> dict[str, object]:
    """Return the JSON fields of ``config list``."""
    return {"path": config.path, "keys": {key: key_document(config, key) for key in KEYS}}


def show_list(config: Config) -> None:
    """Print every key with its value, default and origin."""
    rows = []
    for path, key in KEYS.items():
        if key.secret:
            fields = key_document(config, path)
            rows.append((path, "(secret)" if fields["stored"] else "", "", str(fields["origin"])))
        else:
            origin = config.origin(path).removeprefix("file:")
            rows.append((path, shown(path, config.written(path)), shown(path, config.default(path)), origin))
    human.print_table(("key", "value", "default", "origin"), rows)


def preset_document(preset: Preset) -> dict[str, object]:
    """Return the JSON fields of one preset."""
    limits = preset.limits
    return {
        "name": preset.name,
        "title": preset.title,
        "host": preset.host,
        "port": preset.port,
        "encryption": preset.encryption,
        "username": preset.username,
        "authentication": preset.authentication,
        "note": preset.note,
        "limits": None
        if limits is None
        else {
            "message_limit": limits.message_limit,
            "duration": limits.duration,
            "count": limits.count,
            "additional_limits": list(limits.additional),
            "plan": limits.plan,
        },
        "commands": list(preset_commands(preset)),
    }


def preset_commands(preset: Preset) -> tuple[str, ...]:
    """Return what to type to use a provider, its limits included."""
    pairs = [("smtp.transport", preset.name)]
    if not preset.host:
        region = "email-smtp.eu-central-1.amazonaws.com"
        pairs.append(("smtp.host", region if preset.name == "ses" else "mail.isp.example"))
    if not preset.username:
        pairs.append(("smtp.username", preset.login))
    # Where only tokens are taken, a password would be of no use.
    signs_in = preset.authentication == "xoauth2"
    pairs.append(("oauth.client_id", "CLIENT-ID") if signs_in else ("smtp.password", ""))
    limits = preset.limits.settings() if preset.limits is not None else ()
    first, rest = _commands(pairs), _commands(limits)
    return (*first, "ucrmmail login", *rest) if signs_in else (*first, *rest)


def _commands(pairs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    return tuple(f"ucrmmail config set {key} {value}".rstrip() for key, value in pairs)


def show_presets(presets: Sequence[Preset]) -> None:
    """Print a line for each provider."""
    rows = []
    for preset in presets:
        limits = preset.limits
        proposed = "" if limits is None else f"{limits.message_limit} {limits.count}/{limits.duration} ({limits.plan})"
        server = f"{preset.host or '(set smtp.host)'}:{preset.port} {preset.encryption}"
        rows.append((preset.name, preset.title, server, proposed))
    human.print_table(("name", "provider", "smarthost", "proposed limits"), rows)


def show_preset(preset: Preset) -> None:
    """Print what to type to use a provider."""
    human.say(f"# {preset.title}" + (f": {preset.note}" if preset.note else ""))
    if preset.limits is not None:
        human.say(f"# the limits are those of {preset.limits.plan}")
    for command in preset_commands(preset):
        human.say(command)


def check_document(path: str, problems: Sequence[Problem], advice: Sequence[Advice]) -> dict[str, object]:
    """Return the JSON fields of ``config check``."""
    return {
        "path": path,
        "ok": not problems,
        "problems": [
            {"key": item.key, "line": item.line or None, "what": item.what, "allowed": item.allowed}
            for item in problems
        ],
        "warnings": [{"key": item.key, "what": item.what, "remedy": item.remedy} for item in advice],
    }


def show_check(path: str, problems: Sequence[Problem], advice: Sequence[Advice]) -> None:
    """Print all that is wrong, then what is worth a second look."""
    for problem in problems:
        human.say(str(problem))
    for item in advice:
        human.say(f"warning: {item}")
    if not problems:
        human.say(f"{path}: no errors")


def remark_transport(preset: Preset, config: Config) -> None:
    """Say what is left to do after a provider was chosen."""
    if preset.note:
        human.note(f"{preset.title}: {preset.note}")
    for key in ("smtp.host", "smtp.port", "smtp.encryption", "smtp.authentication"):
        if preset.name != "smtp" and config.is_set(key):
            human.note(f"{key} is set to {shown(key, config.written(key))} and goes before the preset")
    if preset.limits is not None and not config.integer("throttler.message_limit"):
        human.note(f"proposed limits ({preset.limits.plan}):")
        for key, value in preset.limits.settings():
            human.note(f"  ucrmmail config set {key} {value}")


def remark_problems(problems: Sequence[Problem]) -> None:
    """Say what is wrong in the file beside the key that was changed."""
    if problems:
        human.note("still wrong in the file:")
    for problem in problems:
        human.note(f"  {problem}")
