"""The SQLite file where the truth lives: `writer.LedgerWriter` keeps it, `reader.Ledger` reads it."""
