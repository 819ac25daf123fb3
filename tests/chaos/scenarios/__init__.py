"""One file per scenario; see the table in `chaos`."""
