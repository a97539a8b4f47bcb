"""The tests; `tests/laws` holds what every op must obey."""
