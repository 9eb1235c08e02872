"""What the tools of the command line compute: summaries, explanations, tapes, differences."""
