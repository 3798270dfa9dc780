"""The look-up of the lock file among known vulnerabilities, with a stand-in for pip-audit."""

from pathlib import Path

import pytest

from tools import audit

# Like pip-audit it is content with packages of which its service says nothing.
STAND_IN = """
import json, sys

asked, service = sys.argv[sys.argv.index("--requirement") + 1], {service!r}
print("asked about", asked, file=sys.stderr)
if service == "away":
    sys.exit("requests.exceptions.ConnectionError")
if asked.endswith("known.txt"):
    found = dict(vulns=[dict(id="CVE-2018-18074")]) if service != "none" else dict(skip_reason="?")
    print(json.dumps(dict(dependencies=[dict(name="requests") | found])))
    sys.exit(service != "none")
print("vulnerable" if service == "found" else "nothing")
sys.exit(service == "found")
"""


@pytest.mark.parametrize(
    ("service", "code", "answer"),
    [
        ("none", 0, audit.ABSENT),
        ("away", 0, audit.ABSENT),
        ("clean", 0, "nothing"),
        ("found", 1, "vulnerable"),
    ],
)
def test_only_an_absent_service_is_forgiven(
    service: str,
    code: int,
    answer: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "pip_audit.py").write_text(STAND_IN.format(service=service))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert audit.main() == code
    printed, complaint = capfd.readouterr()
    assert printed.splitlines() == [answer]
    assert (str(audit.LOCK) in complaint) is (answer != audit.ABSENT)


def test_a_broken_installation_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = "import there_is_no_such_module"
    (tmp_path / "pip_audit.py").write_text(broken)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError, match="there_is_no_such_module"):
        audit.main()
