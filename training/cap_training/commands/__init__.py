"""The commands of `cap-train`, one file each. What is heavy they import when they are called."""
