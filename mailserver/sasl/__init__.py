"""SASL mechanisms (RFC 4422) as small steppers, without socket, clock or disk."""
