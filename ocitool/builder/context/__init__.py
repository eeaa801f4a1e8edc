"""The build context: its files, ignore rules and content digests."""
