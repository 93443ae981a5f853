"""Errors of the server.

StreamerError
├── ConfigError          a config file or value is wrong
├── SourceError          a driving source cannot be opened or read (`retry` says whether to try again)
├── SinkError            an output cannot be opened or written
├── UnknownStream        no stream has that name
├── UnknownPortrait      no portrait has that name
├── BadBackground        a picture cannot be a stream's background
├── GalleryFull          another upload needs room (`goes` says which would go for it)
├── CannotKeep           an upload cannot be written or deleted on disk
├── UnknownPreset        no preset has that name
├── BadPreset            a preset cannot be understood, or not be kept under that name
├── PresetsFull          there are as many presets as are kept
├── NothingKept          the last seconds of a stream cannot be had
├── BadCommand           a command cannot be understood, or not by this stream
├── StreamBusy           the stream already has a publisher
├── DriverRefused        the portrait on show is not theirs to drive
├── TooManyStreams       the limit of streams that can be added is reached
├── Overloaded           one more driven stream would make the others too slow
├── UnknownSession       no such WebRTC session
├── TakenOver            the session was ended for another publisher's
├── BadOffer             the SDP offer cannot be used
│   ├── UnsupportedMedia the body is of another type
│   └── TooLarge         the body is larger than any offer
├── NoRestart            ICE cannot be restarted now
├── PreconditionFailed   If-Match names another ICE session
├── PreconditionRequired If-Match is missing
├── TooSlow              the body of a request did not come in time
├── ForeignPage          a page of another site asks, and may not
├── UnknownHost          the request is for a name that this server does not go by
├── Unauthorized         a token is missing
│   └── UnknownToken     the token is wrong, or no longer good
├── Forbidden            the token is good, and lacks the right
├── TooManyRequests      one address asks too often
└── TooManySessions      the server's limit is reached
"""

from __future__ import annotations


class StreamerError(Exception):
    """Base class: the message is one line, names the culprit and, where there is one, the cure."""


def code(problem: Exception) -> str:
    """What programs tell an error by, on every transport: the name of its class."""
    return type(problem).__name__


class ConfigError(StreamerError):
    """A config file or value is wrong."""


class SourceError(StreamerError):
    """A driving source cannot be opened or read. retry: trying again can help; slow: but hardly soon."""

    def __init__(self, message: str, *, retry: bool, slow: bool = False) -> None:
        super().__init__(message)
        self.retry, self.slow = retry, slow


class SinkError(StreamerError):
    """An output cannot be opened or written. retry: trying again can help."""

    def __init__(self, message: str, *, retry: bool) -> None:
        super().__init__(message)
        self.retry = retry


class UnknownStream(StreamerError):
    """No stream has that name."""


class UnknownPortrait(StreamerError):
    """No portrait has that name."""


class UnknownBackground(StreamerError):
    """No picture was uploaded as a stream's background."""


class BadBackground(StreamerError):
    """A picture cannot be a stream's background."""


class GalleryFull(StreamerError):
    """There is no room for another upload. goes: ids and names of those that would have to go, the oldest first."""

    def __init__(self, message: str, goes: dict[str, str]) -> None:
        super().__init__(message)
        self.goes = goes


class CannotKeep(StreamerError):
    """An upload cannot be written or deleted on disk."""


class UnknownPuppet(StreamerError):
    """No puppet of that name is being made."""


class UnknownRecording(StreamerError):
    """No recording of that name."""


class UnknownPreset(StreamerError):
    """No preset has that name."""


class BadPreset(StreamerError):
    """A preset cannot be understood, or not be kept under that name."""


class PresetsFull(StreamerError):
    """There are as many presets as are kept."""


class NothingKept(StreamerError):
    """The last seconds of a stream are not kept, or there are none yet."""


class BadCommand(StreamerError):
    """A command cannot be understood, or not by this stream."""


class StreamBusy(StreamerError):
    """The stream already has a publisher."""


class DriverRefused(StreamerError):
    """The portrait on show may be driven by others alone."""


class TooManyStreams(StreamerError):
    """The limit of streams that can be added while the server runs is reached."""


class Overloaded(StreamerError):
    """One more driven stream would make the others too slow."""


class UnknownSession(StreamerError):
    """No such WebRTC session."""


class TakenOver(StreamerError):
    """The session was ended, as another publisher took over the stream."""


class BadOffer(StreamerError):
    """The SDP offer cannot be used."""


class UnsupportedMedia(BadOffer):
    """The body is of another type."""


class TooLarge(BadOffer):
    """The body is larger than any offer."""


class NoRestart(StreamerError):
    """ICE cannot be restarted now; the session goes on as it is."""


class PreconditionFailed(StreamerError):
    """If-Match names another ICE session."""


class PreconditionRequired(StreamerError):
    """If-Match is missing."""


class TooSlow(StreamerError):
    """The body of a request did not come in time."""


class UnknownHost(StreamerError):
    """The request is for a name that this server does not go by: a browser may have been lured here (DNS rebinding)."""


class ForeignPage(StreamerError):
    """A page of another site must not reach a server on this machine through its visitor's browser."""


class Unauthorized(StreamerError):
    """A token is missing."""


class UnknownToken(Unauthorized):
    """The token is wrong, or no longer good: which of both is not told."""


class Forbidden(StreamerError):
    """The token is good, and lacks the right."""


class TooManyRequests(StreamerError):
    """One address asks too often. after_s: when it may again."""

    def __init__(self, message: str, after_s: float = 10) -> None:
        super().__init__(message)
        self.after_s = after_s


class TooManySessions(StreamerError):
    """The server's limit is reached."""
