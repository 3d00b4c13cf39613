"""The command lines: flags and printing around what `keras_dep` does."""
