"""The user interface: the Textual app and the command line.
Nothing here imports torch, transformers, numpy or pandas; foreign text reaches the screen only through tui.text."""

import os

# Textual reads these once, when it is imported. After a frame it may wait for two more before it shows a key's echo.
if os.environ.get("SSH_CONNECTION") or os.environ.get("SSH_TTY"):
    # On a slow link nothing should move by itself, and frames should be few.
    os.environ.setdefault("TEXTUAL_FPS", "80")
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    os.environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")
else:
    os.environ.setdefault("TEXTUAL_FPS", "240")
