"""Tests of the store: real files, real processes, no mocks."""
