"""The native engine. Importing it without the compiled extensions says how to build them."""

try:
    from fastpath.engine import Codec, Engine, Media, PortKind
    from fastpath.handles import EngineFullError
except ImportError as error:
    raise ImportError(
        f"overlane's native engine is not built ({error}); run: make build"
    ) from error

__all__ = ["Codec", "Engine", "EngineFullError", "Media", "PortKind"]
