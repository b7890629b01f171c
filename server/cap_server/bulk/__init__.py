"""`cap refine --input`: a file of problems through a running server, batch by batch."""
