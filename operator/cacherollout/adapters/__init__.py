"""The ports, made real: one family a folder, families independent of one another."""
