"""Runs inside of scripts/sandbox, for scripts/bench, see its --help."""

import argparse
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

from lab import Lab
from rows import ROWS

TABLE = "{:<42} {:<31} {:>6} {:>5}  {}"


def arguments():
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(prog="bench", add_help=False, allow_abbrev=False,
                                     usage="see --help")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--bars", action="store_true")
    parser.add_argument("--output", required=True)
    parser.add_argument("rows", nargs="*", metavar="ROW")
    args = parser.parse_args()
    for name in args.rows:
        if name not in names:
            parser.error(f"there is no row '{name}'; there are {', '.join(names)}")
    return args


def first_line(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0].split(", Copyright")[0]


def machine():
    cpus = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return {
        "cpu": next((line.partition(": ")[2] for line in cpus if line.startswith("model name")),
                    platform.machine()),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "swtpm": first_line("swtpm", "--version").removeprefix("TPM emulator version "),
        "qemu": first_line("qemu-system-x86_64", "--version").removeprefix("QEMU emulator version "),
        "libvirt": first_line("virsh", "--version"),
        # How busy it was before.
        "load": os.getloadavg()[0],
    }


def verdict(row, ratio):
    return "ok" if ratio <= row.bar else "ABOVE"


def measure(lab, rows):
    """Measure, and print each row when it is there; returns the figures."""
    figures = {}
    print(TABLE.format("what", "against", "ratio", "bar", "").rstrip())
    for row in rows:
        samples = row.measure(lab)
        ratio = samples.ratio
        figures[row.name] = {"ratio": ratio, "bar": row.bar, **vars(samples)}
        digits = 2 if row.bar else 0
        # One digit more shows by how much it is above.
        more = digits + (ratio > row.bar)
        print(TABLE.format(row.what, row.against, f"{ratio:.{more}f}", f"{row.bar:.{digits}f}",
                           verdict(row, ratio)), flush=True)
    return figures


def main():
    args = arguments()
    rows = [row for row in ROWS if not args.rows or row.name in args.rows]
    here = machine()
    print("{cpu}, {cores} cores, Linux {kernel}, swtpm {swtpm}, QEMU {qemu}, "
          "libvirt {libvirt}, load {load:.1f}\n".format(**here), flush=True)
    lab = Lab(args.quick)
    figures = measure(lab, rows)
    Path(args.output).write_text(json.dumps({"machine": here, "rows": figures}, indent=1) + "\n",
                                 encoding="utf-8")
    above = [row.name for row in rows if verdict(row, figures[row.name]["ratio"]) == "ABOVE"]
    return 1 if args.bars and above else 0


if __name__ == "__main__":
    sys.exit(main())
