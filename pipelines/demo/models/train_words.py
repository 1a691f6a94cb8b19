"""Train the demo's word vectors on its captions: ``python -m pipelines.demo.models.train_words``.

A stand-in for GloVe in a world of a hundred words: word2vec of gensim on what the describer learns to read and to
write, saved as GloVe's text.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from pipelines.demo.world.captions import complete_caption, key_caption
from pipelines.demo.world.script import CLASSES, clip_script
from priors.run.prompts import render
from priors.words.tokens import tokenize


@dataclass(frozen=True)
class Settings:
    """Options of the training."""

    output: Path = Path("pipelines/demo/checkpoints/words.txt")
    """File that receives the vectors."""
    width: int = 64
    """Numbers in a vector."""
    clips: int = 4000
    """Clips whose captions are read."""


FIRST_SEED = 30_000_000


def corpus(clips: int) -> list[list[str]]:
    """Captions of so many clips and the prompts about their classes, as words."""
    texts = []
    for seed in range(FIRST_SEED, FIRST_SEED + clips):
        script = clip_script(seed)
        for label, style in script.styles.items():
            texts += [key_caption(script, label), complete_caption(label, style)]
    texts += [render(kind, label) for label in CLASSES for kind in ("key", "complete") for _ in range(20)]
    return [tokenize(text) for text in texts]


def main(settings: Settings) -> None:
    """Train and save."""
    from gensim.models import Word2Vec

    model = Word2Vec(
        corpus(settings.clips), vector_size=settings.width, window=6, min_count=1, sg=1, epochs=10, seed=1, workers=1
    )
    words = zip(model.wv.index_to_key, model.wv.vectors, strict=True)
    lines = [f"{word} {' '.join(str(number) for number in vector)}\n" for word, vector in words]
    settings.output.write_text("".join(lines), encoding="utf-8")
    print(f"{len(model.wv)} words, {settings.width} wide: {settings.output}")


if __name__ == "__main__":
    tyro.cli(main)
