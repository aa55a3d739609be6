"""`smallchat bench --screen`: what the app itself costs, and how soon it answers."""
