"""The methods: `base` with what all of them share, one file a paper, `catalogue` to find them by name."""
