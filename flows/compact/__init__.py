"""Few large parts in place of many small ones."""
