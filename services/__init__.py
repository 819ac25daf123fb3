"""The services, one folder each, and `mishpulse`, the command that starts them; they talk only through Redis."""
