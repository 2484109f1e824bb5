"""What may be set, where it is kept, and how a change is made safely. Reads and writes TOML; knows no other room."""
