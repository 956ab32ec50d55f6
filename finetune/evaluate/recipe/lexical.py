"""How alike two texts are, word for word and in meaning: SacreBLEU, ROUGE-L, BERTScore.

SacreBLEU is a corpus figure, resampled from each text's own counts; the other two are means over texts. All are in
hundredths, as papers print them. BERTScore goes by the encoder at hand, all-MiniLM-L6-v2: its values are not those of
the paper's scorer, and compare only with each other.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loopwright.errors import MissingDependency
from loopwright.finetune.evaluate.recipe.figures import Figures, Floats, with_intervals
from loopwright.models.minilm import LAYERS

BATCH = 64


class TextMeasure:
    """The three metrics. `encoder` is the folder of the sentence encoder; None: no BERTScore."""

    def __init__(self, encoder: Path | None) -> None:
        """Open what is needed.

        Raises:
            MissingDependency: a metric's package is not installed.
        """
        try:
            from rouge_score.rouge_scorer import RougeScorer
            from sacrebleu.metrics.bleu import BLEU
        except ImportError as error:
            raise MissingDependency(
                f"`{error.name}`, which compares texts, is not installed: `pip install 'loopwright[eval]'`."
            ) from error
        self._bleu: Any = BLEU()
        self._rouge: Any = RougeScorer(["rougeL"], use_stemmer=False)
        self._bert: Any = None if encoder is None else _bert_scorer(encoder)
        self.encoder = "" if encoder is None else f"{encoder.name}, layer {LAYERS}, no rescaling, no idf"

    @property
    def signature(self) -> str:
        """SacreBLEU's."""
        return str(self._bleu.get_signature())

    def of(self, texts: Sequence[str], references: Sequence[str]) -> Figures:
        """`bleu`, `rouge_l` and, with an encoder, `bertscore` of texts against one reference each."""
        single = [self._bleu.corpus_score([text], [[true]]) for text, true in zip(texts, references, strict=True)]
        counts = np.array([[*one.counts, *one.totals, one.sys_len, one.ref_len] for one in single], np.int64)
        of_text = {"rouge_l": np.array([self._rouge_l(*pair) for pair in zip(texts, references, strict=True)])}
        if self._bert is not None:
            _, _, f1 = self._bert.score(list(texts), list(references), batch_size=BATCH)
            of_text["bertscore"] = 100 * f1.double().numpy()

        def figures(rows: NDArray[np.intp]) -> dict[str, Floats]:
            found = {name: np.asarray(values[rows].mean(-1)) for name, values in of_text.items()}
            return {"bleu": self._corpus_bleu(counts[rows].sum(-2)), **found}

        return with_intervals(figures, len(texts))

    def _rouge_l(self, text: str, reference: str) -> float:
        return float(100 * self._rouge.score(reference, text)["rougeL"].fmeasure)

    def _corpus_bleu(self, counts: NDArray[np.int64]) -> Floats:
        """(..., 10) counts and totals of four orders and both lengths, to (...)."""
        rows = counts.reshape(-1, counts.shape[-1]).tolist()
        scores = [self._bleu.compute_bleu(row[:4], row[4:8], row[8], row[9], smooth_method="exp").score for row in rows]
        return np.array(scores).reshape(counts.shape[:-1])


def _bert_scorer(encoder: Path) -> Any:
    try:
        from bert_score import BERTScorer
    except ImportError as error:
        raise MissingDependency(
            f"`{error.name}`, which compares texts, is not installed: `pip install 'loopwright[eval]'`."
        ) from error
    return BERTScorer(model_type=str(encoder), num_layers=LAYERS, idf=False, rescale_with_baseline=False, device="cpu")
