"""Readers of data sets as they lie on a disk; none of them trusts its files."""
