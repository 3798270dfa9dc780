"""Looks the locked dependencies up among known vulnerabilities: `python -m tools.audit`.

pip-audit calls packages that its service does not know "skipped" and is content, so where
there is no service at all it finds nothing wrong. Hence a release with well-known vulnerabilities
is looked up first: only a service that knows these is asked about ours.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[1] / "requirements.lock"
KNOWN = (  # CVE-2018-18074 and others since
    "requests==2.19.0 "
    "--hash=sha256:421cfc8d9dde7d6aff68196420afd86b88c65d77d8da9cf83f4ecad785d7b9d6\n"
)
ABSENT = "Dependencies not audited: no vulnerability service can be reached from here."
COMMAND = (sys.executable, "-m", "pip_audit", "--require-hashes", "--disable-pip",
           "--progress-spinner", "off", "--timeout", "10", "--requirement")  # fmt: skip


def main() -> int:
    """The exit code: 0 where nothing is known against the lock file, or no service answers."""
    if not service_answers():
        print(ABSENT)
        return 0
    return subprocess.run([*COMMAND, str(LOCK), "--strict"], check=False).returncode


def service_answers() -> bool:
    """Whether the service knows of vulnerabilities that everybody knows of."""
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder, "known.txt")
        asked.write_text(KNOWN, encoding="utf-8")
        done = subprocess.run(
            [*COMMAND, str(asked), "--format", "json"], capture_output=True, text=True, check=False
        )
    try:
        report: dict[str, Any] = json.loads(done.stdout)
    except ValueError:  # without a network it ends in an error
        if "No module named" in done.stderr:
            raise RuntimeError(done.stderr.strip()) from None
        return False
    return any(package.get("vulns") for package in report["dependencies"])


if __name__ == "__main__":
    sys.exit(main())
