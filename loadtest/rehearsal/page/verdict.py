"""The verdict in words."""

from msgspec import Struct

from loadtest.rehearsal.figures import Figures


class Verdict(Struct, frozen=True):
    """`kind`: held, missed or broken."""

    kind: str
    words: str
    explained: str


def give_verdict(figures: Figures) -> Verdict:
    missed = [it.name for it in figures.objectives if not it.met]
    if figures.violations:
        count = len(figures.violations)
        found = "is one thing that is" if count == 1 else f"are {count:,} things that are"
        return Verdict(
            "broken", "Something was lost, doubled or untrue", f"There {found} not as people were told; see below."
        )
    if not figures.audit_holds:
        return Verdict(
            "broken",
            "The audit does not hold",
            "Nothing contradicts what people were told, but what is stored is not all in order, or could not all be "
            "checked; see below.",
        )
    kept = "Nothing was lost or doubled, and what people were told is what the ledger says"
    if not figures.any_accepted:
        return Verdict(
            "missed",
            "Nothing was shown",
            "No send and no claim was accepted, so that there is nothing that could have been lost.",
        )
    if missed:
        of = f"{len(missed):,} of {len(figures.objectives):,}"
        return Verdict("missed", "Objectives missed", f"{of}: {', '.join(missed)}. {kept}.")
    return Verdict(
        "held", "Held", f"{kept}. {'Every objective was met.' if figures.objectives else 'No objective was set.'}"
    )
