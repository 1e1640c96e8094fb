"""Open pages in headless Chromium, where there is one, and fail on what they complain about.

``python -m tests.browser docs/_build``: every page of the gallery, the home page, and a report made here.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pmlmm

COMPLAINT = re.compile(r"CONSOLE[:(].*?\"(.*(?:Uncaught|Failed to load|Refused|ERR_).*)\"")
WIDTHS = (1300, 400)


def complaints(browser: str, page: Path, width: int) -> list[str]:
    """Errors on the console of a page that is loaded at this width."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", f"--window-size={width},2000"]
    command = [browser, *options, "--dump-dom", page.resolve().as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    loaded = done.returncode == 0 and "</body>" in done.stdout
    return COMPLAINT.findall(done.stderr) + ([] if loaded else [f"not loaded (status {done.returncode})"])


def main(site: Path | None) -> int:
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        print("no Chromium here: pages are not opened")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        data = pmlmm.datasets.load("sleepstudy")
        pmlmm.Model("Reaction ~ Days + (Days | Subject)", data).fit().report(Path(folder, "report.html"))
        pages = [Path(folder, "report.html")]
        pages += [] if site is None else [site / "index.html", *sorted((site / "gallery").glob("*.html"))]
        found = {(page.name, width): complaints(browser, page, width) for page in pages for width in WIDTHS}
    for (name, width), words in found.items():
        print(f"{name} at {width}: {'; '.join(words) or 'fine'}")
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
