"""What the engines of the account store in SQLite and in PostgreSQL share: all statements on its tables."""
