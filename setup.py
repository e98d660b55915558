"""Installs keras_dalle; tool settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$',
    (ROOT / "keras_dalle" / "__init__.py").read_text(encoding="utf-8"),
    re.MULTILINE,
).group(1)

setup(
    name="keras-dalle",
    version=VERSION,
    description="DALL·E mini and DALL·E Mega for TensorFlow and Keras",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["keras_dalle", "keras_dalle.*"]),
    package_data={"keras_dalle": ["py.typed", "presets/**/*"]},
    entry_points={"console_scripts": ["keras-dalle=keras_dalle.cli:main"]},
    install_requires=[
        "tensorflow==2.20.*",
        "keras~=3.15.0",
        "keras-nlp>=0.32,<0.33",
        "tensorflow-text==2.20.*",
        "tensorflow-serving-api==2.20.*",
        "grpcio",
        "grpcio-health-checking",
        "protobuf>=6,<7",
        "emoji>=2.16,<2.17",
        "ftfy",
        "Unidecode>=1.3.6,<1.5",
        "h5py",
        "httptools",
        "huggingface-hub>=1",
        "ml-dtypes",
        "msgpack",
        "numpy",
        "packaging",
        "Pillow>=11",
        "PyYAML",
        "regex",
        "rich",
        "safetensors",
        "starlette>=1.10,<2",
        "tokenizers==0.23.*",
        "typer",
        # http_protocol.py builds on its inside.
        "uvicorn==0.54.*",
        "wrapt",
    ],
    extras_require={
        "training": ["tensorboard", "codecarbon"],
        "data": ["apache-beam"],
        "orbit": ["tf-models-official==2.20.*"],
        "ui": ["gradio"],
        "torch": ["torch==2.13.*"],
        "dev": [
            "hypothesis",
            "mypy",
            "pytest",
            "pytest-xdist",
            "ruff",
            "setuptools>=77",
        ],
    },
)
