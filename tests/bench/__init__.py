"""Tests of the benchmark: that it runs, and that it notices what is wrong."""
