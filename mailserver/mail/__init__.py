"""Values that every room speaks of: addresses, envelopes, trace fields, verdicts."""
