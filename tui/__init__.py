"""What a person types at and looks at: the Textual app and the command line.
Nothing here imports torch, transformers, numpy or pandas; foreign text reaches the screen only through tui.text."""

import os

if os.environ.get("SSH_CONNECTION") or os.environ.get("SSH_TTY"):
    # Textual reads these once, when it is imported. A slow link wants few frames and nothing that moves by itself.
    os.environ.setdefault("TEXTUAL_FPS", "20")
    os.environ.setdefault("TEXTUAL_ANIMATIONS", "none")
    os.environ.setdefault("TEXTUAL_SMOOTH_SCROLL", "0")
