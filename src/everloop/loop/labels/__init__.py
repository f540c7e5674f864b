"""Little data: which rows to label, and what becomes of their labels."""
