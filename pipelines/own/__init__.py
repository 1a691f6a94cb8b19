"""The whole road for a folder of videos: which models are used, and the commands one after the other."""
