"""`python -m tests.model`: explores every configuration and takes away every rule; prints what came of it.

--short      only the configurations of `make test`
--markdown   as Markdown, for docs/model.md
"""

import sys

from tests.model.configurations import LONG, MISSED_IN, SHORT, Configuration, bounds, without
from tests.model.explore import Report, explore


def main(arguments: list[str]) -> int:
    markdown = "--markdown" in arguments
    models = SHORT if "--short" in arguments else (*SHORT, *LONG)
    reports = [(model, explored(model)) for model in models]
    missed = {rule: explored(without(rule)) for rule in MISSED_IN}
    unneeded = [rule.number for rule, report in missed.items() if not report.problem]

    print(table(reports, markdown))
    for rule, report in missed.items():
        title = f"{rule.number}. {rule.what}."
        found = report.in_words() if report.problem else "     nothing is found"
        print(f"\n### {title}\n" if markdown else f"\n{title}")
        if markdown:
            print(f"Without it {rule.why}. Model: {rule.step}. Code: {rule.code}.\n")
        print(f"```text\n{found}\n```" if markdown else found)
    for _, report in reports:
        if report.problem:
            print(f"\n{report.name}: {report.problem}\n{report.in_words()}")
    return 1 if unneeded or any(report.problem for _, report in reports) else 0


def explored(model: Configuration) -> Report:
    report = explore(model)
    away = f" without {model.without.number}" if model.without else ""
    print(f"{report.name}{away}: {report.states:,} states, {report.seconds:.1f} s, {report.verdict}", file=sys.stderr)
    return report


def table(reports: list[tuple[Configuration, Report]], markdown: bool) -> str:
    rows = [
        (
            report.name,
            bounds(model),
            f"{report.states:,}",
            f"{report.transitions:,}",
            f"{report.seconds:.0f}",
            report.verdict,
        )
        for model, report in reports
    ]
    header = ("configuration", "bounds", "states", "transitions", "seconds", "verdict")
    if markdown:
        lines = [header, ("---", "---", "---:", "---:", "---:", "---"), *rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
