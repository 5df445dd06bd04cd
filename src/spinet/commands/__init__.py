"""The subcommands of `spinet`, a file a group; each imports what it needs when it is called."""
