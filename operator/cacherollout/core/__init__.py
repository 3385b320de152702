"""Pure decisions: facts in, a decision out. No I/O, clock, randomness or logging in here."""
