"""Trained models outside the benchmark: exports for other libraries, embeddings, scores of single images."""
