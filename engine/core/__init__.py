"""What every capability stands on: processes that outlive the terminal, the protocol with child processes, files
written whole. Knows nothing of models, runs or exports."""
