"""The mailbox that a test message was sent to: has it arrived, where, how, and what does the receiver say of it."""
