"""What the engines of the spool in SQLite and in PostgreSQL share: values in columns, and queries."""
