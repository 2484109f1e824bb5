"""OAuth 2.0: how an account gets the access token that it logs in with (RFC 6749), and keeps it fresh between runs."""
