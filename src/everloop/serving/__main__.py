"""`python -m everloop.serving`: the server on the base install."""

from everloop.serving.app import main

raise SystemExit(main())
