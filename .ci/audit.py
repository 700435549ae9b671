"""Looks up known vulnerabilities of what requirements-dev.txt locks.

Ends with 0 if none is known, or if nobody can be asked, which it says: without a network, or where
the index is a mirror that doesn't know of any.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: How its traceback tells that nobody could be asked.
UNREACHABLE = ("ConnectionError", "ProxyError", "Timeout", "Could not connect")


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        # With hashes nothing has to be resolved, so it needs neither pip nor an environment.
        command = [
            *(
                sys.executable,
                "-m",
                "pip_audit",
                "--requirement",
                str(ROOT / "requirements-dev.txt"),
            ),
            *("--require-hashes", "--disable-pip", "--progress-spinner", "off", "--timeout", "15"),
            *("--format", "json", "--output", str(report)),
        ]
        ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)  # noqa: S603
        text = report.read_text() if report.exists() else ""
    code, lines = verdict(text, ended.stderr)
    print("\n".join(lines))  # noqa: T201
    return code


def verdict(report: str, error: str) -> tuple[int, list[str]]:
    """The exit code, and what to say, of what pip-audit has reported and written to stderr."""
    if not report:
        if any(word in error for word in UNREACHABLE):
            return 0, ["Not audited: the database of vulnerabilities can't be reached."]
        return 1, [error]
    packages = json.loads(report)["dependencies"]
    audited = [one for one in packages if "vulns" in one]
    found = [
        f"{one['name']} {one['version']}: {bug['id']}, fixed in {', '.join(bug['fix_versions'])}"
        for one in audited
        for bug in one["vulns"]
    ]
    if not audited:
        return 0, ["Not audited: the database of vulnerabilities knows none of the packages."]
    summary = f"{len(audited)} of {len(packages)} packages audited, {len(found)} vulnerabilities."
    return (1 if found else 0), [*found, summary]


if __name__ == "__main__":
    sys.exit(main())
