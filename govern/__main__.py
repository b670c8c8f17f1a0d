"""`python -m govern` is `govern`."""

from govern.cli import main

main()
