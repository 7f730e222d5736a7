"""Hidden reference tests, one module a chapter and one `Check` an exercise; students never get this folder."""
