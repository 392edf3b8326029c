"""One use case a module, the same from the command line, the daemon and the worker."""
