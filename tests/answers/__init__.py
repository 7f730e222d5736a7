"""Right answers, written independently of the solutions; every check must give them full points."""
