"""Text as the models read it: spelling, vocabularies, packing."""

from keras_dalle.text.vocabulary import train_vocabulary

__all__ = ["train_vocabulary"]
