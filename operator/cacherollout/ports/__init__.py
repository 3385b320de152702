"""What the shell needs of the world, as Protocols of a few methods, written for the consumer."""
