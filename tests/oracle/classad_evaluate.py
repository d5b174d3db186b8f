"""Reads, writes and evaluates ClassAd expressions with HTCondor's own library.

Standard input: a JSON object for each line, either {"ad": text}, which is the ad for what follows,
or {"text": expression, "old": whether it is in the old syntax}. Standard output: for each expression
a JSON object with `new` and `old`, the expression as HTCondor writes it in either form, and `value`,
what it evaluates to in the new form, or null where the evaluation fails; or null for what HTCondor
cannot read. Where HTCondor's library ends its process, the value is `crashed`.
"""

import json
import os
import sys

# The bindings must not take settings from an HTCondor that may be installed here.
os.environ["CONDOR_CONFIG"] = "ONLY_ENV"

import classad2
import htcondor2  # registers HTCondor's functions


def read(text, old):
    """An ad with the expression as `x`."""
    if old:
        ad = classad2.parseOne(f"x = {text}\n", classad2.Parser.Old)
    else:
        ad = classad2.ClassAd(f"[x = {text}]")
    # Nothing after the expression was taken for something else.
    return ad if list(ad.keys()) == ["x"] else None


def answer(text, old, scope):
    try:
        ad = read(text, old)
    except (classad2.ClassAdException, UnicodeDecodeError):
        ad = None
    if ad is None:
        return None
    old_form = ad.printOld().removeprefix("x = ").removesuffix("\n")
    new = repr(ad).removeprefix("[ x = ").removesuffix(" ]")
    try:
        value = repr(ad.lookup("x").simplify(scope))
    except classad2.ClassAdException:
        value = None
    return {"new": new, "old": old_form, "value": value}


def serve(lines, out):
    """Answers all requests."""
    scope = classad2.ClassAd()
    for line in lines:
        request = json.loads(line)
        if "ad" in request:
            scope = classad2.ClassAd(request["ad"])
        else:
            print(json.dumps(answer(request["text"], request["old"], scope)), file=out, flush=True)


def main():
    lines = sys.stdin.read().splitlines()
    while lines:
        # In a process of its own, for some expressions end it.
        source, sink = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(source)
            with open(sink, "w") as out:
                serve(lines, out)
            os._exit(0)
        os.close(sink)
        with open(source) as answers:
            done = [line for line in answers if line.endswith("\n")]
        sys.stdout.writelines(done)
        if os.waitpid(child, 0)[1] == 0:
            return
        # The request that was too much, and the ad that holds behind it.
        requests = [index for index, line in enumerate(lines) if '"text"' in line]
        fatal = requests[len(done)]
        print(json.dumps({"new": "", "old": "", "value": "crashed"}))
        ads = [line for line in lines[:fatal] if '"ad"' in line]
        lines = ads[-1:] + lines[fatal + 1 :]


if __name__ == "__main__":
    main()
