"""ucrmmail: outgoing mail of one server, configured, proved, queued and sent within the provider's limits."""

__version__ = "0.1.0"
