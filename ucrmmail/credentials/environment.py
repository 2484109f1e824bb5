"""Secrets that the start of the process brings along: a systemd credential, or an environment variable.

    LoadCredential=ucrmmail.smtp.password:/etc/ucrmmail/smtp.password             in a systemd unit, or
    LoadCredentialEncrypted=ucrmmail.smtp.password:/etc/ucrmmail/smtp.password.cred
    UCRMMAIL_SMTP_PASSWORD                                                        in a container, or in CI

and so for ``oauth.client_secret``, and for ``imap.password`` of the mailbox in which test messages are looked for.

systemd puts the credential into a file below $CREDENTIALS_DIRECTORY. Of either, the first line is the secret.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ucrmmail.credentials.secret import first_line
from ucrmmail.errors import PermissionDeniedError
from ucrmmail.files import DistrustError, open_untrusted, read_all

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNIT = "see LoadCredential= in the unit (systemctl cat UNIT)"
SMTP, IMAP = "smtp.password", "imap.password"
# By key of the configuration. No program that we start is given these.
VARIABLES = {
    SMTP: "UCRMMAIL_SMTP_PASSWORD",
    IMAP: "UCRMMAIL_IMAP_PASSWORD",
    "oauth.client_secret": "UCRMMAIL_OAUTH_CLIENT_SECRET",
}
_LARGEST = 65536


def _credential(key: str) -> str:
    return f"ucrmmail.{key}"


def read_credential(environ: Mapping[str, str], key: str = SMTP) -> str | None:
    """Return the systemd credential of a key, such as ``ucrmmail.smtp.password``; None when there is none.

    Raises PermissionDeniedError when it cannot be read, SecretMissingError when it is empty, ConfigError when it is no
    secret: one that was meant is not passed over.
    """
    directory = environ.get("CREDENTIALS_DIRECTORY", "")
    if not directory:
        return None
    path = f"{directory}/{_credential(key)}"
    try:
        fd = open_untrusted(path)
        try:
            raw = read_all(fd, _LARGEST)
        finally:
            os.close(fd)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except DistrustError as error:
        raise PermissionDeniedError(f"the systemd credential is not used: {error}", remedy=_UNIT) from None
    except OSError as error:
        raise PermissionDeniedError(
            f"the systemd credential {path} cannot be read: {error.strerror}", remedy=_UNIT
        ) from None
    return first_line(raw, f"the systemd credential {path}")


def read_variable(environ: Mapping[str, str], key: str = SMTP) -> str | None:
    """Return the secret in the variable of a key, such as UCRMMAIL_SMTP_PASSWORD; None when it is unset or empty.

    Raises ConfigError.
    """
    value = environ.get(VARIABLES[key], "")
    return first_line(os.fsencode(value), VARIABLES[key]) if value else None


def override(environ: Mapping[str, str], key: str = SMTP) -> str:
    """Return what goes before every configured source here, for people; "" when nothing does."""
    if read_credential(environ, key) is not None:
        return f"the systemd credential {_credential(key)}"
    return VARIABLES[key] if environ.get(VARIABLES[key]) else ""
