"""The demo's videos: their scripts, how they are drawn, and their correct captions."""
