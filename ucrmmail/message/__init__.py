"""The nouns of the mail world, and what is done to a message's bytes. A leaf: imports no other room."""
