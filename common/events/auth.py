"""Auth domain: users, sessions and permissions, by id only: no name, address, password or token travels here.

For a service beside the pipeline: none of its own processes sends these. What takes a right away goes before the rest.
"""

from typing import ClassVar, Literal

from common.events.base import Code, Event, EventId, Id, Name, Priority

LoginMethod = Literal["password", "key", "single_sign_on"]


class UserEvent(Event, frozen=True, kw_only=True):
    """Something about one user."""

    user_id: Id
    cause_id: EventId | None = None
    correlation_id: EventId | None = None

    def topic(self) -> str:
        return f"{self.kind}.auth.{self.user_id}"


class UserRegistered(UserEvent, frozen=True, kw_only=True, tag="Auth.User.Registered.v1"):
    """A user exists from now on; what they may do is told by permissions."""

    kind: ClassVar[str] = "user_registered"


class UserLoggedIn(UserEvent, frozen=True, kw_only=True, tag="Auth.User.LoggedIn.v1"):
    """A session began; it ends at `expires_ns` at the latest."""

    kind: ClassVar[str] = "user_logged_in"

    session_id: Id
    method: LoginMethod
    expires_ns: int


class UserLoggedOut(UserEvent, frozen=True, kw_only=True, tag="Auth.User.LoggedOut.v1"):
    """The user ended a session."""

    kind: ClassVar[str] = "user_logged_out"
    priority = Priority.HIGH

    session_id: Id


class SessionExpired(UserEvent, frozen=True, kw_only=True, tag="Auth.Session.Expired.v1"):
    """A session ended by its time, or was ended by somebody else: `reason` tells why."""

    kind: ClassVar[str] = "session_expired"
    priority = Priority.HIGH

    session_id: Id
    reason: Code


class PermissionGranted(UserEvent, frozen=True, kw_only=True, tag="Auth.Permission.Granted.v1"):
    """The user may do something from now on, until `expires_ns` where it is there."""

    kind: ClassVar[str] = "permission_granted"

    permission: Id
    by: Name
    expires_ns: int | None = None


class PermissionRevoked(UserEvent, frozen=True, kw_only=True, tag="Auth.Permission.Revoked.v1"):
    """The user may do something no more."""

    kind: ClassVar[str] = "permission_revoked"
    priority = Priority.HIGH

    permission: Id
    by: Name
    reason: Code
