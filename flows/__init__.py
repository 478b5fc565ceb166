"""Control flow only: which task after which. The `chromaflow` command is `flows.cli.app`."""
