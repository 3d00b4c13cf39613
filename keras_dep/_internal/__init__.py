"""What the package shares and does not export."""
