"""`python -m bridge` is `lms-bridge`."""

from bridge.cli.main import main

main()
