"""Captioned pictures: the emoji, their split, their TFRecords."""
