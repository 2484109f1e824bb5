"""Secrets that the start of the process brings along: a systemd credential, or an environment variable."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ucrmmail.errors import PermissionDeniedError
from ucrmmail.files import DistrustError, open_untrusted, read_all

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "UCRMMAIL_SMTP_PASSWORD"
CREDENTIAL = "ucrmmail.smtp.password"
_LARGEST = 65536


def read_credential(environ: Mapping[str, str]) -> str | None:
    """Return the systemd credential ``ucrmmail.smtp.password`` (LoadCredential=), None when there is none."""
    directory = environ.get("CREDENTIALS_DIRECTORY", "")
    if not directory:
        return None
    path = f"{directory}/{CREDENTIAL}"
    try:
        fd = open_untrusted(path)
    except FileNotFoundError:
        return None
    except (DistrustError, OSError) as error:
        raise PermissionDeniedError(f"the systemd credential {path} cannot be read: {error}") from None
    try:
        raw = read_all(fd, _LARGEST)
    finally:
        os.close(fd)
    return raw.decode("utf-8", "surrogateescape").removesuffix("\n") or None


def read_variable(environ: Mapping[str, str]) -> str | None:
    """Return the secret in UCRMMAIL_SMTP_PASSWORD, None when it is unset or empty."""
    return environ.get(VARIABLE) or None
