"""A ledger in other programs' forms."""
