"""The story world: a source of short parallel stories in English and Chinese that knows its own probabilities."""

from insidegpt.storyworld.plots import PLOTS, VARIABLES
from insidegpt.storyworld.source import Source, Story

STORY_WORLD = Source(PLOTS, VARIABLES)

__all__ = ["STORY_WORLD", "Source", "Story"]
