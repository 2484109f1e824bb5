"""Programs for those who maintain ucrmmail; none of them is installed."""
