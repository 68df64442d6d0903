"""What an event freezes while it is set aside: nothing new is reserved on it until a person has decided."""

from redpacket.events import Event, PacketOpened, WalletToppedUp


def subject_of(event: Event) -> str:
    """A packet by its id, a wallet as wallet:OWNER, '' for nothing."""
    match event:
        case PacketOpened():
            # The money is its sender's: what he has left is in doubt, and there may be no such packet at all.
            return f"wallet:{event.terms.owner}"
        case WalletToppedUp():
            return ""
        case _:
            return event.packet
