"""The engine of the account store in PostgreSQL. The tables are in the room ``postgresql``."""
