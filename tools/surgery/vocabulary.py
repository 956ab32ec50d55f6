"""The words of CholecT50 (Nwoye et al. 2022) and of surgical action planning (Xu et al. 2025, section 3).

A word's place in its tuple is the number that the data sets give it.
"""

from typing import Literal, get_args

from loopwright.errors import BadInput

Action = Literal["Aspiration", "Coagulation", "Dissection", "Tissue Retraction", "Vessel Clipping"]
ACTIONS: tuple[Action, ...] = get_args(Action)

Instrument = Literal["grasper", "bipolar", "hook", "scissors", "clipper", "irrigator"]
INSTRUMENTS: tuple[Instrument, ...] = get_args(Instrument)

VERBS = ("grasp", "retract", "dissect", "coagulate", "clip", "cut", "aspirate", "irrigate", "pack", "null_verb")
TARGETS = (
    "gallbladder",
    "cystic_plate",
    "cystic_duct",
    "cystic_artery",
    "cystic_pedicle",
    "blood_vessel",
    "fluid",
    "abdominal_wall_cavity",
    "liver",
    "adhesion",
    "omentum",
    "peritoneum",
    "gut",
    "specimen_bag",
    "null_target",
)
PHASES = (
    "preparation",
    "calot-triangle-dissection",
    "clipping-and-cutting",
    "gallbladder-dissection",
    "gallbladder-packaging",
    "cleaning-and-coagulation",
    "gallbladder-extraction",
)
_SPELLINGS = {
    "carlot-triangle-dissection": "calot-triangle-dissection",  # the data set's own slip
}


def number_of(word: str, words: tuple[str, ...], what: str) -> int:
    """The place of `word` among `words`, however it is spelled: `Cystic-Duct`, `cystic duct`, `carlot-...`.

    Raises:
        BadInput: it is none of them.
    """
    plain = _plain(word)
    for number, known in enumerate(words):
        if _plain(known) == _plain(_SPELLINGS.get(plain, plain)):
            return number
    raise BadInput(f"{word!r} is no {what} of the vocabulary. Known: {', '.join(words)}.")


def _plain(word: str) -> str:
    return word.strip().lower().replace("_", "-").replace(" ", "-")
