"""The SQLite file where the truth lives: `Ledger` writes it, `LedgerReader` reads it."""
