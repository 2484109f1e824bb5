"""What keeps mail from going out: looks at the account, its spool and its machine, and what each of them means."""
