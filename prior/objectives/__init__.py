"""Objectives: pure functions of padded tensors and masks."""
