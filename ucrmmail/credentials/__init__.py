"""Where a secret comes from: one module a source, the same functions in each."""
