"""Models on the hub and on this disk: find, fetch, check and convert them."""
