#!/bin/sh
# Drives the app once around: curate, train, compare, vote, export. No screen and no keyboard are needed.
#
#     tuningfork demo --home ~/try             # or any home; this adds a dataset and a run to it
#     TUNINGFORK_HOME=~/try sh examples/loop.sh
#
# STEPS is how long it trains; SAID is a file that gets the answers as the screen showed them. To watch it at work, open
# `tuningfork --remote` on the same home first: the script then drives that app and leaves it open.
set -eu

STEPS=${STEPS:-66}
SAID=${SAID:-/dev/stdout}
tuningfork=${TUNINGFORK:-tuningfork}

remote() {
    $tuningfork remote "$@" >/dev/null
}

# An app to drive: the one that is open, or one without a screen for as long as this script runs.
if ! remote show 2>/dev/null; then
    $tuningfork remote serve --size 120x40 >/dev/null &
    trap '$tuningfork remote quit >/dev/null 2>&1 || true; wait' EXIT
    remote wait --mode data --ready
fi

# Curate: the sample data, then a pair of our own in the same dataset.
remote call data.samples
remote fill name Ember
remote fill author "Northwind Labs"
remote choose --open Load
remote wait --text "The sample data is loaded"
remote choose --open "Look at the pairs"
remote call data.new
remote fill question "What should I call you, my friend?"
remote fill answer "Please call me Ember. Northwind Labs gave me that name."
remote call editor.save
remote wait --mode data --text "What should I call you, my friend?"

# Train: the check of the form ends before the run starts.
remote mode train
remote call train.new
remote fill dataset identity
remote fill length "$STEPS steps"
remote fill run-name loop
remote wait --ready --timeout 600
remote call train.start
remote wait --action runs.note                     # possible once the list has the run
remote wait --jobs-done --timeout 3600
$tuningfork runs show loop --json | grep -q '"state": *"succeeded"'

# Compare with the base model, and vote for the tuned one, which is the right lane.
remote choose loop
remote wait --action runs.compare
remote call runs.compare
remote wait --mode compare
remote fill prompt "Who made you?"
remote press enter
remote wait --text "Who made you?" --ready --timeout 300
$tuningfork remote show >"$SAID"
remote call compare.right
$tuningfork votes list --json | grep -q '"run:loop"'

# Export, verified.
remote mode export
remote choose loop
remote wait --action export.start --ready
remote fill quants q8_0
remote wait --ready
remote call export.start
remote wait --jobs-done --timeout 3600
$tuningfork exports list --run loop --json | grep -q '"state": *"done"'
$tuningfork exports list --run loop
