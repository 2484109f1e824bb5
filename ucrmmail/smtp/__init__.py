"""The submission client (RFC 5321, RFC 6409): wire, session, TLS, AUTH, transactions, and what replies mean."""
