"""The commands of `keras-dalle`, one file each."""
