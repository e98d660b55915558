"""min-dalle's DALL·E mini with random weights and without a download.

Runs in the peers' Python, see benchmarks/README.md. Its weights lie in a folder as
min-dalle keeps them:

    PYTHONPATH=. ../peers/bin/python benchmarks/random_min_dalle.py FOLDER
"""

import string
import sys

import torch
from min_dalle import MinDalle
from min_dalle.models import DalleBartDecoder, DalleBartEncoder
from min_dalle.text_tokenizer import TextTokenizer

SPECIAL_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")  # The model masks id 1.


class RandomMinDalle(MinDalle):
    """As `MinDalle`, but what it would download is made, and it stops at the tokens.

    Args:
        folder: where the weights are, or are written if they are not.
    """

    def __init__(self, folder):
        super().__init__(str(folder), is_mega=False, is_verbose=False, device="cpu")

    def init_tokenizer(self):
        tokens = [*SPECIAL_TOKENS, *string.ascii_lowercase]
        self.tokenizer = TextTokenizer({x: i for i, x in enumerate(tokens)}, [])

    def init_detokenizer(self):
        pass

    def image_grid_from_tokens(self, image_tokens, **_):
        return image_tokens

    def download_encoder(self):
        encoder = DalleBartEncoder(
            text_token_count=self.text_token_count,
            text_vocab_count=self.text_vocab_count,
            **self._sizes(),
        )
        torch.save(encoder.state_dict(), self.encoder_params_path)

    def download_decoder(self):
        decoder = DalleBartDecoder(
            image_vocab_count=self.image_vocab_count, **self._sizes()
        )
        torch.save(decoder.state_dict(), self.decoder_params_path)

    def _sizes(self):
        return {
            "layer_count": self.layer_count,
            "embed_count": self.embed_count,
            "attention_head_count": self.attention_head_count,
            "glu_embed_count": self.glu_embed_count,
            "device": self.device,
        }


if __name__ == "__main__":
    RandomMinDalle(sys.argv[1])
