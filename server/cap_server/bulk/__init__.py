"""Many problems through a running server: `cap refine --input`, and `cap bulk` on Ray Data."""
