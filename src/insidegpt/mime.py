"""Types of notebook outputs that programs read; apart from the modules that make them, because those import torch."""

REPORT = "application/vnd.insidegpt.report+json"
"""What a hidden check found: `{"exercise", "properties": [{"name", "passed", "message"}]}`."""

NOTE = "application/vnd.insidegpt.note+json"
"""A sentence for the learner, in both languages, from the program that ran the notebook."""
