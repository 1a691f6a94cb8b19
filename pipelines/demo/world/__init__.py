"""What a demo video shows, how it is drawn, and what is truly said of it."""
