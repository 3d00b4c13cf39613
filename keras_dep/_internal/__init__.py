"""What every room may use and no user imports: files, checks, registration."""
