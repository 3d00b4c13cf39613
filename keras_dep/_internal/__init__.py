"""Private foundations of all rooms: files, argument checks, registration."""
