"""One file per screen, its stylesheet beside it.
Screens read and write through tui.bridge only; none of them blocks the event loop."""
