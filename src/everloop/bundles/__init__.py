"""The bundle: what is deployed is data, hashed and signed; nothing is ever unpickled."""

from everloop.bundles.bundle import Bundle, load, write
from everloop.bundles.manifest import Manifest
from everloop.bundles.signing import PublicKey, SigningKey, trusted

__all__ = ["Bundle", "Manifest", "PublicKey", "SigningKey", "load", "trusted", "write"]
