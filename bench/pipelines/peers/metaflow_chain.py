"""A chain of STEPS steps as a Metaflow flow: each step is a process of its own."""

import os

STEPS = int(os.environ["STEPS"])


source = ["class Chain(FlowSpec):", "    @step", "    def start(self):", "        self.number = 1"]
names = ["start", *(f"step_{n}" for n in range(1, STEPS - 1)), "end"]
source += [f"        self.next(self.{names[1]})"]
for place, name in enumerate(names[1:-1], 1):
    source += ["    @step", f"    def {name}(self):", f"        self.number = self.number + {place}"]
    source += [f"        self.next(self.{names[place + 1]})"]
source += ["    @step", "    def end(self):", "        self.number = self.number + 1"]

if __name__ == "__main__":
    import pathlib
    import runpy
    import sys

    file = pathlib.Path("flow.py")
    text = (
        "from metaflow import FlowSpec, step\n\n" + "\n".join(source) + "\n\nif __name__ == '__main__':\n    Chain()\n"
    )
    file.write_text(text)
    sys.argv[0] = str(file)
    runpy.run_path(str(file), run_name="__main__")
