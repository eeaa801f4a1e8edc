#!/bin/sh
# Prints what the build made, and where it runs.  Uses the shell's own words only.
read -r greeting < /demo/greeting
printf '%s, from process %s in %s\n' "$greeting" "$$" "$PWD"
