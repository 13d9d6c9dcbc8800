"""Chapter 2: a Transformer learns that two words occur together."""
