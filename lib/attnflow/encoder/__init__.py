"""Room of chapter 3: an encoder-only shallow Transformer, its scaling and its initialisation."""
