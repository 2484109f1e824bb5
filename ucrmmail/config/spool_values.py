"""Defaults and bounds of the table ``[spool]`` that a submission and the schema share; it imports nothing."""

MAX_MESSAGE_SIZE = "50MB"
# A queue file has less than 2 GiB, envelope and all.
LARGEST_MESSAGE_BYTES = 2_000_000_000
MIN_FREE_SPACE = "50MB"
SYNC = ("batch", "each")
