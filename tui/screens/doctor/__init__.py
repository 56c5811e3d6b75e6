"""The doctor, on top of any mode: what Tuningfork needs on this machine."""
