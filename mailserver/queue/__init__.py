"""Takes messages in and sees them delivered."""
