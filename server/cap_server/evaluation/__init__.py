"""`cap eval`: strategies compared on labelled problems, through a running server."""
