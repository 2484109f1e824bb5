"""An SMTP session on standard input and output, as `sendmail -bs` has it: the server's side of RFC 5321."""
