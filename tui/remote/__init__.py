"""Lets scripts drive the open app, or one without a screen, over a Unix socket of the home.
`protocol` is what both sides agree on, `server` runs in the app, `client` in the command line and knows no screen."""
