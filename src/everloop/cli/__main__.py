"""`python -m everloop.cli`: the same as the `everloop` command."""

from everloop.cli import main

main()
