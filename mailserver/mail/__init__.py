"""Values that all packages use: addresses, envelopes, trace fields, verdicts."""
