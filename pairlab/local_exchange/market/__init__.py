"""Markets for the local exchange: synthetic, recorded, several at once."""
