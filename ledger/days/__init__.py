"""Which days the ledger has, and the detaching of old ones."""
