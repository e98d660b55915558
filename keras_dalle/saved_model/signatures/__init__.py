"""Signatures of the exported model, a module for each idea."""

from keras_dalle.saved_model.signatures.serving_module import ServingModule

__all__ = ["ServingModule"]
