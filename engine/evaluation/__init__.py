"""Measuring answers: probes, judges, prompt sets, and vote statistics."""
