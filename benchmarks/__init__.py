"""Measurements that anyone can repeat; what they gave is in RESULTS.md.
Scripts and what they share: no test, and nothing that the product imports."""
