"""Throttler and AntiFlood: how many messages may leave, and when. Pure arithmetic, and one ledger that lasts."""
