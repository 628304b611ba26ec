-- SPDX-License-Identifier: MIT
-- The commands of the program and their flags, as fleet.cli reads them. A flag
-- that a job's `options` also have gets no default here: what is not given on
-- the command line is the job's to say.

-- As in a job's options.
local MILLION = 1000000
-- Title of a section of flags.
local FINDING = "Flags that say how nodes are found"

local commands = {
  program = "moonfleet",
  summary = "moonfleet runs Lua jobs over a pool of machines. With neither --peers nor "
    .. "--discover it uses all cores of this one.",
  -- Of the environment, beside MOONFLEET_<FLAG>.
  variables = {
    { "MOONFLEET_HISTORY", "file of the history of the prompt; empty: keep none (default: "
      .. "~/.local/state/moonfleet/history)" },
    { "MOONFLEET_CACHE", "folder for the lists of nodes found last; empty: keep none (default: "
      .. "~/.cache/moonfleet)" },
    { "MOONFLEET_FAULT", "faults to inject, for tests: see docs/faults.md" },
    { "MOONFLEET_FAULT_SEED", "injects the same faults each time" },
    { "NO_COLOR", "set and not empty: no colour at the prompt" },
  },
  flags = {
    { name = "peers", type = "list", value = "LIST",
      help = "nodes to use, host:port separated by commas" },
    { name = "release", type = "string", value = "R",
      help = "release of this program; nodes of another one get no work (default: what "
        .. "/etc/moonfleet/release says, or the tag of this EC2 instance, or its version)" },
    { name = "heartbeat", type = "duration", value = "S",
      help = "time between two looks at each node (default: 1)" },
    { name = "suspect-after", type = "duration", value = "S",
      help = "a node that is silent for so long gets no new work (default: 5)" },
    { name = "dead-after", type = "duration", value = "S",
      help = "a node that is silent for so long is lost, its work runs elsewhere (default: 15)" },
    -- for tests of what is sent again
    { name = "reply-after", type = "duration", value = "S", hidden = true,
      help = "a message without a reply for so long is sent again (default: 10)" },
    { name = "config", type = "string", value = "FILE",
      help = "a file that returns flags as a Lua table (default: /etc/moonfleet/moonfleet.lua, if "
        .. "there is one)" },
    { name = "log-level", type = "choice", choices = { "error", "warn", "info", "debug" },
      value = "LEVEL",
      help = "what to log on stderr: error, warn (default; serve: info), info or debug" },
    { name = "lua-path", type = "string", value = "DIR",
      help = "read the Lua library from DIR, not from the program" },
    { name = "discover", section = FINDING, type = "string", value = "WHAT",
      help = "find the nodes, which come and go: ec2, dns:NAME[:PORT] or file:PATH; for serve, "
        .. "ec2: this is an EC2 instance" },
    { name = "port", section = FINDING, type = "integer", min = 1, max = 65535, value = "N",
      help = "port of nodes that are found without one (default: 5440)" },
    { name = "poll-interval", section = FINDING, type = "duration", value = "S",
      help = "time between two looks at a small fleet (default: 10, dns: the records' own)" },
    { name = "dns-server", section = FINDING, type = "list", value = "HOST[:PORT]",
      help = "dns: ask these servers (default: the system's)" },
    { name = "tag-key", section = FINDING, type = "string", value = "KEY",
      help = "ec2: tag of the instances whose value is the release (default: moonfleet:release)" },
    { name = "filter", section = FINDING, type = "list", value = "NAME=VALUE[|VALUE]",
      help = "ec2: only instances that this filter of DescribeInstances lets through, too, such "
        .. "as vpc-id=vpc-1234 or tag:team=a|b" },
    { name = "address", section = FINDING, type = "choice",
      choices = { "private_v4", "private_v6", "public_v4", "public_v6", "auto" }, value = "TYPE",
      help = "ec2: address to connect to: private_v4 (the default), private_v6, public_v4, "
        .. "public_v6, or auto, the first that there is" },
    { name = "region", section = FINDING, type = "string", value = "REGION",
      help = "ec2: region (default: AWS_REGION, the profile's, the instance's)" },
    { name = "profile", section = FINDING, type = "string", value = "NAME",
      help = "ec2: profile of the shared AWS files (default: AWS_PROFILE, or default)" },
    { name = "endpoint", section = FINDING, type = "string", value = "URL",
      help = "ec2: URL of the EC2 API (default: AWS_ENDPOINT_URL_EC2, AWS_ENDPOINT_URL, the "
        .. "profile's, the region's)" },
    -- for tests
    { name = "release-file", section = FINDING, type = "string", value = "FILE", hidden = true,
      help = "file that has the release, in place of /etc/moonfleet/release" },
  },
}

commands[#commands + 1] = {
  name = "run",
  summary = "run a job over items, one result a line",
  usage = "JOB.lua [FILE|-|ITEM]...",
  min_args = 1,
  needs = "a job script",
  owns_words = function(path) return require("fleet.run.script").owns_words(path) end,
  text = {
    "Runs the map function of a job script over items: the lines of the files, or of stdin (- or "
      .. "no file), the arguments themselves (--items), or what the job's own items() makes.",
    "Results are JSON Lines on stdout in input order, {\"item\":..., \"value\":...} or "
      .. "{\"item\":..., \"error\":{\"kind\":..., \"message\":...}}; all else is on stderr.",
    "A script that returns no table is a driver script: it runs once, here. All words behind it "
      .. "are its own (arg), also those that look like flags: write flags of moonfleet before it.",
  },
  examples = {
    { "run --items scripts/title.lua https://www.lua.org/", "one item, given on the line" },
    { "run job.lua urls.txt --output out.jsonl --journal j", "a run that can be resumed" },
    { "run job.lua urls.txt --format csv --columns status,bytes", "a table for other programs" },
    { "run --peers 127.0.0.1:5441,127.0.0.1:5442 driver.lua", "a driver script, over two nodes" },
  },
  flags = {
    { name = "items", type = "boolean", help = "the arguments are the items, not files" },
    { name = "input", type = "choice", choices = { "lines", "jsonl" }, default = "lines",
      help = "what an item of a file is: a line, or the value of a line of JSON" },
    { name = "output", type = "string", value = "FILE",
      help = "write results to FILE, which appears when it is complete" },
    { name = "format", type = "choice", choices = { "jsonl", "csv", "table" },
      default = "jsonl", help = "how results are written" },
    { name = "columns", type = "list", value = "NAMES",
      help = "csv and table: these fields of results, in this order (default: those of the first "
        .. "200 results)" },
    { name = "unordered", type = "boolean", help = "write results as they complete" },
    { name = "limit", type = "integer", min = 1, value = "N", help = "only the first N items" },
    { name = "sample", type = "percent", value = "P%", help = "a random P% of the items" },
    { name = "journal", type = "string", value = "FILE",
      help = "append every result to FILE, so that a run that is cut short can be resumed" },
    { name = "resume", type = "boolean",
      help = "go on with what is in the journal: items that it has are not run again" },
    { name = "retry-failed", type = "boolean",
      help = "with --resume: run what failed again" },
    { name = "dry-run", type = "boolean", help = "list the items, run nothing" },
    { name = "retries", type = "integer", min = 0, max = MILLION, value = "N",
      help = "run an item again, up to N times, when its worker or node was lost; 0: never "
        .. "(default: the job's, or 2)" },
    { name = "timeout", type = "duration", value = "S",
      help = "longest time of one item, such as 30, 1.5s or 2m (default: the job's, or no limit)" },
    { name = "concurrency", type = "integer", min = 1, max = MILLION, value = "N",
      help = "items in flight at once in each worker (default: the job's, or 64)" },
    { name = "batch", type = "integer", min = 1, max = MILLION, value = "N",
      help = "items a worker gets at once (default: the job's, or it adapts)" },
  },
  notes = {
    {
      title = "Exit codes",
      { "0", "every item was done" },
      { "1", "some items failed, or input or output did" },
      { "2", "the command line or the job script is wrong" },
      { "3", "there were no workers" },
      { "130", "interrupted by Ctrl-C; 143: by SIGTERM" },
      { "141", "nobody reads the results any more" },
    },
  },
}

commands[#commands + 1] = {
  name = "eval",
  summary = "evaluate Lua code on a node, or on all",
  usage = "CODE|- [ARG]...",
  min_args = 1,
  needs = "code",
  text = {
    "Evaluates code, an expression or statements (- reads it from stdin), in a worker of the node "
      .. "with the least to do. The arguments are strings, `...` and `arg` in the code.",
    "What it returns is on stdout: a string as it is, other values as Lua writes them. What it "
      .. "prints is on stderr, after the node's name.",
  },
  examples = {
    { "eval '1 + 1'", "a value" },
    { "eval --all 'os.time()'", "the clocks of all nodes" },
    { "eval --json '{ sum = digest.sha256(...) }' abc", "with an argument, as JSON" },
  },
  flags = {
    { name = "node", type = "string", value = "NAME", help = "evaluate it on this node" },
    { name = "all", type = "boolean", help = "evaluate it once on every node" },
    { name = "json", type = "boolean",
      help = "write the value as JSON, several as an array; with --all an object by node" },
    { name = "timeout", type = "duration", value = "S",
      help = "longest time, such as 30, 1.5s or 2m (default: no limit)" },
  },
  notes = {
    {
      title = "Exit codes",
      { "0", "it was evaluated, everywhere it was to be" },
      { "1", "it raised, or there is no result of some node" },
      { "2", "the command line or the code is wrong" },
      { "3", "there was no such node" },
      { "130", "interrupted by Ctrl-C; 143: by SIGTERM" },
    },
  },
}

commands[#commands + 1] = {
  name = "repl",
  summary = "open a prompt that evaluates Lua, here or on nodes",
  max_args = 0,
  text = {
    "Reads Lua code from the terminal, evaluates it here, on a node or on all of them, and writes "
      .. "the values; :help tells more. What is not a terminal is read without a prompt.",
    "The history is in the file that MOONFLEET_HISTORY names, or in "
      .. "~/.local/state/moonfleet/history; an empty MOONFLEET_HISTORY keeps none.",
  },
  examples = {
    { "repl --peers 127.0.0.1:5441,127.0.0.1:5442", "then :nodes, or :on all and code" },
    { "repl < script.lua", "the lines of a file, one after the other" },
  },
  flags = {},
}

commands[#commands + 1] = {
  name = "serve",
  summary = "run a node: offer this machine's cores",
  max_args = 0,
  text = {
    "Runs a node until SIGTERM: it takes items from drivers (moonfleet run --peers) and runs them "
      .. "in worker processes. On SIGTERM it finishes what runs and refuses the rest.",
  },
  examples = {
    { "serve", "on 127.0.0.1:5440, a worker for each core" },
    { "serve --listen 127.0.0.1:5441 --workers 2 --name two", "a second node on this machine" },
  },
  flags = {
    { name = "listen", type = "list", value = "URL",
      help = "addresses to listen on, separated by commas (default: tcp://127.0.0.1:5440)" },
    { name = "ipc-mode", type = "string", value = "OCTAL",
      help = "mode of the socket of ipc:///PATH; with 660, say, users of its group may submit jobs "
        .. "too (default: 600)" },
    { name = "workers", type = "integer", min = 1, value = "N",
      help = "worker processes (default: one for each core)" },
    { name = "worker-memory", type = "size", value = "BYTES",
      help = "memory of one worker process, such as 512M; what needs more fails; 0: no limit "
        .. "(default: 2G)" },
    { name = "lease", type = "duration", value = "S",
      help = "how long a driver may be silent before its tasks are stopped (default: 15)" },
    { name = "name", type = "string", value = "NAME",
      help = "name of the node in lists and errors (default: the host's name and the port)" },
    -- for tests
    { name = "frozen-after", type = "duration", value = "S", hidden = true,
      help = "a worker that has tasks and gives no sign of life for so long is killed (default: "
        .. "15)" },
    -- how a driver starts its private node
    { name = "ready-fd", type = "integer", min = 3, value = "FD", hidden = true,
      help = "descriptor that is told when the node listens" },
    { name = "parent", type = "integer", min = 1, value = "PID", hidden = true,
      help = "process that the node goes with" },
  },
}

commands[#commands + 1] = {
  name = "nodes",
  summary = "list the nodes and their state",
  max_args = 0,
  text = { "Lists the nodes with their state, workers and load, also those that get no work." },
  examples = {
    { "nodes --peers 127.0.0.1:5441,127.0.0.1:5442", "those of a list" },
    { "nodes --discover ec2 --release abc123 --json", "those of EC2, for a program" },
  },
  flags = {
    { name = "json", type = "boolean", help = "an array of objects for programs" },
  },
}

commands[#commands + 1] = {
  name = "doctor",
  summary = "look for what is wrong with a fleet, and say what to do",
  max_args = 0,
  text = {
    "Checks this machine, the discovery (--discover ec2: credentials, region, permission, "
      .. "instances), and that each node is reached and does work. Each line is ok, warn or fail, "
      .. "with what to do below it.",
  },
  examples = { { "doctor --discover ec2 --release abc123", "before the first run" } },
  flags = {
    { name = "json", type = "boolean",
      help = "an array of objects {check, status, detail, fix} for programs" },
  },
  notes = {
    { title = "Exit codes", { "0", "nothing is wrong" }, { "1", "something is" } },
  },
}

commands[#commands + 1] = {
  name = "version",
  summary = "print the versions of the program and its libraries",
  max_args = 0,
  text = {
    "Prints the version of the program, and below it those of the libraries that it uses. -V and "
      .. "--version do the same.",
  },
  examples = { { "version --json", "an object with the version of each, by name" } },
  flags = { { name = "json", type = "boolean", help = "an object for programs" } },
}

commands[#commands + 1] = {
  name = "help",
  summary = "show help for a command, or for the flags of all",
  usage = "[COMMAND|flags]",
  max_args = 1,
  text = {
    "Prints the help of a command, of the flags and variables that every command has (flags), or "
      .. "the list of commands.",
  },
  examples = { { "help run", "as run --help" }, { "help flags", "how nodes are named and found" } },
  flags = {},
}

return commands
