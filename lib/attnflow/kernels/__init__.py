"""Chapter 4: softmax against Gaussian attention."""
