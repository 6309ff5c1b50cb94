"""Models of the Hugging Face Hub: their files in the cache of the hub, and the layers that moodex puts on them."""
