"""Values and protocols that every layer shares. Knows no layer above it."""

from loopwright.digests import GENESIS, canonical_json, sha256_of
from loopwright.schema.acts import Act, ActStatus, Outcome, Verdict, restoring
from loopwright.schema.base import Frozen
from loopwright.schema.cancel import CancelToken
from loopwright.schema.events import Event, chain_hash, payload_hash
from loopwright.schema.feedback import Approve, Feedback, Instead, Message, Note, Query, Reject, Stop, Unclear, kind_of
from loopwright.schema.images import BlobReader, ImageRef
from loopwright.schema.world import World

__all__ = [
    "GENESIS",
    "Act",
    "ActStatus",
    "Approve",
    "BlobReader",
    "CancelToken",
    "Event",
    "Feedback",
    "Frozen",
    "ImageRef",
    "Instead",
    "Message",
    "Note",
    "Outcome",
    "Query",
    "Reject",
    "Stop",
    "Unclear",
    "Verdict",
    "World",
    "canonical_json",
    "chain_hash",
    "kind_of",
    "payload_hash",
    "restoring",
    "sha256_of",
]
