"""Measuring answers: probes, judges, prompt sets, and what votes say."""
