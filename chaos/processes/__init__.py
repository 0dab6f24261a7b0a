"""One small adapter to each process: what its service does, in virtual time. Whoever changes a service looks here."""
