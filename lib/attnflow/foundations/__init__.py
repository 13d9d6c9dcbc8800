"""Chapter 1: gradient flow, and what it keeps."""
