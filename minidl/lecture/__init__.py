"""What the examples of the lecture share: flags, runs, figures."""
