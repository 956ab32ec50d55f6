"""Recorded drives, whoever recorded them, as samples of one format."""
