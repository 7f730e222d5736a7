"""The package that the book, its exercises and its grader share."""
