"""The flush: takes what is due from the spool, within the limits, through the smarthost, and settles it."""
