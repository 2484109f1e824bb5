"""What the DNS says of a domain that sends mail: whether it is well made, and whether receivers will believe it."""
