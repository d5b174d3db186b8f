"""Reads a user log with HTCondor's own reader and prints one JSON object for each event.

    python read_userlog.py job.log      or, for a log on standard input, `-` instead of its name

Keys: `type` (the name, e.g. JOB_HELD), `number`, `cluster`, `proc`, `epoch` (seconds), `text`
(the event as HTCondor writes it again, in local time) and `attributes` (what HTCondor made of it;
values that JSON does not know are ClassAd text). TZ says what local time is. Where HTCondor's
reader fails, so does this program, with its message; where the reader stops before the end
without a word, the count tells.
"""

import json
import os
import sys
import tempfile

# The bindings must not take settings from an HTCondor that may be installed here.
os.environ["CONDOR_CONFIG"] = "ONLY_ENV"

import htcondor2


def plain(value):
    """The value if JSON knows it, else its ClassAd text."""
    # Enumerations such as classad2.Value are numbers too, but not the ones that they look like.
    return value if type(value) in (bool, int, float, str) else str(value)


def events(path):
    for event in htcondor2.JobEventLog(path).events(stop_after=0):
        yield {
            "type": event.type.name,
            "number": int(event.type),
            "cluster": event.cluster,
            "proc": event.proc,
            "epoch": event.timestamp,
            "text": str(event),
            "attributes": {name: plain(event[name]) for name in event},
        }


def main(path):
    with tempfile.TemporaryDirectory() as directory:
        if path == "-":
            path = os.path.join(directory, "job.log")
            with open(path, "wb") as log:
                log.write(sys.stdin.buffer.read())
        for event in events(path):
            print(json.dumps(event))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        main(sys.argv[1])
    except htcondor2.HTCondorException as error:
        sys.exit(f"HTCondor's reader failed: {error}")
