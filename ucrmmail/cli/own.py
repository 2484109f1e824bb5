"""How this program is started again: by cron, or by itself."""

from __future__ import annotations

import os
import sys
import zipfile


def own_command() -> list[str]:
    """Return the words of a command line that starts this program from anywhere, without its arguments.

    From the single file it is that file; else the module, with -P: it is the installed one, whatever lies in the
    directory that it is run from.
    """
    if zipfile.is_zipfile(sys.argv[0]):
        return [sys.executable, os.path.abspath(sys.argv[0])]
    return [sys.executable, "-P", "-m", "ucrmmail"]
