"""Training as everyone but the worker sees it: config, recipes, preflight, estimate, runs. Light: no torch.
The training process is `engine.training.worker`; it is started as a process, and no module imports it."""
