"""Makes jobs of submit files with HTCondor's own translator.

Standard input: a JSON object for each line with `text`, a submit file that sets `description`.
Standard output: for each a JSON list with the description of each job, or null where HTCondor refuses
the file or ends its process.
"""

import json
import os
import sys
import tempfile

# The bindings must not take settings from an HTCondor that may be installed here.
home = tempfile.mkdtemp()
settings = os.path.join(home, "config")
with open(settings, "w") as config:
    for name in ("RELEASE_DIR", "LOCAL_DIR", "LOG", "SPOOL"):
        print(f"{name} = {home}", file=config)
    for name in ("FILESYSTEM_DOMAIN", "UID_DOMAIN", "FULL_HOSTNAME"):
        print(f"{name} = nowhere", file=config)
    print("ARCH = X86_64\nOPSYS = LINUX", file=config)
os.environ["CONDOR_CONFIG"] = settings
os.chdir(home)

import htcondor

# 2026-03-01T12:00:00Z
SUBMITTED = 1772366400


def answer(text):
    try:
        jobs = htcondor.Submit(text).jobs(clusterid=7, qdate=SUBMITTED, owner="alice")
        return [job["JobDescription"] for job in jobs]
    except (htcondor.HTCondorException, UnicodeDecodeError):
        return None


def main():
    lines = sys.stdin.read().splitlines()
    done = 0
    while done < len(lines):
        # In a process of its own, for some macros end it.
        source, sink = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(source)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            with open(sink, "w") as out:
                for line in lines[done:]:
                    print(json.dumps(answer(json.loads(line)["text"])), file=out, flush=True)
            os._exit(0)
        os.close(sink)
        with open(source) as answers:
            complete = [line for line in answers if line.endswith("\n")]
        sys.stdout.writelines(complete)
        done += len(complete)
        if os.waitpid(child, 0)[1] != 0 and done < len(lines):
            print("null")
            done += 1


if __name__ == "__main__":
    main()
