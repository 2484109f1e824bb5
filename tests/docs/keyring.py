"""A keyring for a machine's user: ``python -m tests.docs.keyring DIRECTORY``, on the machine; ends with its standard input.

It prints its environment, a line for each variable, and an empty line.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.secret_service import secret_service


def main(directory: Path) -> None:
    """Run it, unlocked, as on the desktop of a user who has logged in."""
    with secret_service(directory) as session:
        for name, value in session.env.items():
            print(f"{name}={value}")
        print(flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
