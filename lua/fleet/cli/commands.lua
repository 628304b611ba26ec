-- SPDX-License-Identifier: MIT
-- The commands of the program and their flags, as fleet.cli reads them. A flag that a job's
-- `options` also have gets no default here: when it is not set, the job decides.

--- @return fleet.cli.Flag
local function option(name, type, value, help, fields)
  local flag = { name = name, type = type, value = value, help = help }
  for field, content in pairs(fields or {}) do flag[field] = content end
  return flag
end

local function switch(name, help)
  return option(name, "boolean", nil, help)
end

-- As in a job's options.
local MAX_COUNT = 1000000

-- Of one node: more is a typing error that would take the machine down.
local MAX_WORKERS = 1024

-- Of a certificate, as in host/wrap/authority.h.
local MAX_DAYS = 3650

-- For flags that say what is to be done now.
local TYPED = { typed_only = true }

-- What jobs of a node may reach and require.
local function allow_hosts(jobs, default)
  return option("allow-hosts", "list", "LIST", "what " .. jobs .. " may connect to beyond public "
    .. "addresses: addresses, networks such as 10.0.0.0/8, loopback, private, link-local, "
    .. "metadata, all, none (default: " .. default .. ")", { words = { "loopback", "private",
      "link-local", "metadata", "all", "none" } })
end

local function trusted_modules(jobs)
  return option("modules", "list", "NAMES", "modules written in C, such as lpeg,cjson, that "
    .. jobs .. " may require; they can do all that a worker process can (default: none)")
end

local PRIVATE_NODE = {
  allow_hosts("jobs of the private node, or of those of --ssh,",
    "loopback,private; with --ssh none"),
  trusted_modules("jobs of the private node, or of those of --ssh,"),
}

local INTERRUPTED = { "130", "interrupted by Ctrl-C; 143: by SIGTERM" }

local commands = {
  program = "moonfleet",
  summary = "moonfleet runs Lua jobs on a fleet of machines. Without --peers, --discover, "
    .. "--ssh and --launch it uses all cores of this one.",
  -- Environment variables other than MOONFLEET_<FLAG>.
  variables = {
    { "MOONFLEET_HISTORY", "history file of the prompt; empty: keep no history (default: "
      .. "~/.local/state/moonfleet/history)" },
    { "MOONFLEET_CACHE", "folder that keeps the nodes found last; empty: keep none (default: "
      .. "~/.cache/moonfleet)" },
    { "MOONFLEET_FAULT", "faults to inject, for tests: see docs/faults.md" },
    { "MOONFLEET_FAULT_SEED", "seed that makes injected faults repeatable" },
    { "NO_COLOR", "set and not empty: no colour at the prompt" },
  },
  flags = {
    option("peers", "list", "LIST", "nodes to use, HOST or HOST:PORT separated by commas"),
    option("tls", "string", "DIR", "folder with our keys, made by moonfleet keygen, or "
      .. "ssm:/PATH/ROLE, where keygen --store has put them (ssm: alone: /moonfleet/FLEET/ROLE): "
      .. "connections over TCP use TLS; without it they reach this machine alone"),
    -- for tests
    option("tls-interval", "duration", "S", "how often keys of ssm: are looked at (default: 300)",
      { hidden = true }),
    option("insecure", "boolean", nil, "use TCP without keys on any address: for a lab, where "
      .. "everybody may read along, and run code on the nodes", TYPED),
    option("release", "string", "R", "release of this program; nodes of another release get no "
      .. "work. For drivers also several, r1,r2, or * for every one whose nodes speak the same "
      .. "version of the protocol (default: the line in /etc/moonfleet/release, or the tag of this "
      .. "EC2 instance, or the program's version)"),
    option("heartbeat", "duration", "S", "heartbeat interval of each node (default: 1)"),
    option("suspect-after", "duration", "S",
      "a node that is silent for this long gets no new work (default: 5)"),
    option("dead-after", "duration", "S", "a node that is silent for this long is considered lost, "
      .. "and its work runs elsewhere (default: 15)"),
    option("config", "string", "FILE", "configuration file, which returns flags as a Lua table "
      .. "(default: /etc/moonfleet/moonfleet.lua, if it exists)"),
    option("log-level", "choice", "LEVEL", "what to log on stderr: error, warn (default; "
      .. "serve: info, but not with --stdio), info or debug",
      { choices = { "error", "warn", "info", "debug" } }),
    option("lua-path", "string", "DIR", "read the Lua library from DIR instead of the program"),
  },
}

for _, flag in ipairs({
  option("discover", "string", "WHAT", "discover the nodes, which may come and go: ec2, "
    .. "dns:NAME[:PORT] or file:PATH; for serve, ec2: this is an EC2 instance",
    { words = { "ec2", "dns:", "file:" } }),
  option("port", "integer", "N", "port of nodes that are found without one (default: 5440)",
    { min = 1, max = 65535 }),
  option("poll-interval", "duration", "S", "lookup interval of a small fleet (default: 10; dns: "
    .. "the TTL of the records)"),
  option("dns-server", "list", "HOST[:PORT]", "dns: name servers to ask (default: the system's)"),
  option("tag-key", "string", "KEY", "ec2: tag of the instances whose value is the release "
    .. "(default: moonfleet:release)"),
  option("fleet", "string", "NAME", "ec2: only instances whose tag moonfleet:fleet has this value "
    .. "(default: all but those of fleets that our keys do not belong to); ssm: whose keys"),
  option("filter", "list", "NAME=VALUE[|VALUE]", "ec2: only instances that match this filter of "
    .. "DescribeInstances, such as vpc-id=vpc-1234 or tag:team=a|b"),
  option("address", "choice", "TYPE", "ec2: address to connect to: private_v4 (default), "
    .. "private_v6, public_v4, public_v6, or auto, the first that exists",
    { choices = { "private_v4", "private_v6", "public_v4", "public_v6", "auto" } }),
  option("region", "string", "REGION",
    "ec2 and ssm: region (default: AWS_REGION, the profile's, the instance's)"),
  option("profile", "string", "NAME",
    "ec2 and ssm: profile in the shared AWS files (default: AWS_PROFILE, or default)"),
  option("endpoint", "string", "URL", "ec2: URL of the EC2 API (default: AWS_ENDPOINT_URL_EC2, "
    .. "AWS_ENDPOINT_URL, the profile's, the region's)"),
  -- for tests
  option("release-file", "string", "FILE", "file with the release, instead of "
    .. "/etc/moonfleet/release", { hidden = true }),
}) do
  flag.section = "Flags for node discovery"
  table.insert(commands.flags, flag)
end

for _, flag in ipairs({
  option("ssh", "list", "[USER@]HOST[:PORT]", "start a node on each of these hosts by ssh, without "
    .. "keys or ports of moonfleet's; N/HOST: with N workers"),
  option("sshlogin-file", "string", "FILE", "the same for the hosts of a file, one in each line, "
    .. "which is read again when it changes"),
  option("ssh-program", "string", "PATH", "moonfleet on these hosts (default: moonfleet, in the "
    .. "PATH of a non-interactive shell)"),
  switch("ssh-copy", "copy this program to ~/.cache/moonfleet there when it is missing"),
  option("ssh-command", "string", "CMD", "the ssh to use, with flags, such as 'ssh -F FILE' "
    .. "(default: ssh)"),
  option("launch", "texts", "CMD", "start a node by this command, which runs moonfleet serve "
    .. "--stdio somewhere: 'docker run -i IMAGE moonfleet serve --stdio'; N*CMD starts N; may be "
    .. "given several times"),
}) do
  flag.section = "Flags for nodes that are started"
  table.insert(commands.flags, flag)
end

commands[#commands + 1] = {
  name = "run",
  summary = "run a job over items, one result per line",
  usage = "JOB.lua [FILE|-|ITEM]...",
  completes = { { kind = "files", suffix = ".lua" }, { kind = "files" } },
  min_args = 1,
  needs = "a job script",
  owns_words = function(path) return require("fleet.run.script").owns_words(path) end,
  text = {
    "Runs the map function of a job script over items: the lines of the files, or of stdin (- or "
      .. "no file), the arguments themselves (--items), or the result of the job's own items().",
    "Results are JSON Lines on stdout in input order, {\"item\":..., \"value\":...} or "
      .. "{\"item\":..., \"error\":{\"kind\":..., \"message\":...}}; everything else goes to "
      .. "stderr.",
    "A script that returns no table is a driver script: it runs once, on this machine. All words "
      .. "after it are its own (arg), even those that look like flags: write flags of moonfleet "
      .. "before it.",
  },
  examples = {
    { "run --items scripts/title.lua https://www.lua.org/", "one item, given on the command line" },
    { "run job.lua urls.txt --output out.jsonl --journal j", "a run that can be resumed" },
    { "run job.lua urls.txt --format csv --columns status,bytes", "a table for other programs" },
    { "run --peers 127.0.0.1:5441,127.0.0.1:5442 driver.lua", "a driver script, over two nodes" },
  },
  flags = {
    switch("items", "the arguments are the items, not files"),
    option("input", "choice", nil, "what an item of a file is: a line, or the value of a line of "
      .. "JSON", { choices = { "lines", "jsonl" }, default = "lines" }),
    option("output", "string", "FILE", "write results to FILE, which appears when it is complete"),
    option("format", "choice", nil, "format of the results",
      { choices = { "jsonl", "csv", "table" }, default = "jsonl" }),
    option("columns", "list", "NAMES", "csv and table: these fields of results, in this order "
      .. "(default: those of the first 200 results)"),
    switch("unordered", "write results as they complete"),
    option("limit", "integer", "N", "only the first N items", { min = 1 }),
    option("sample", "percent", "P%", "a random P% of the items"),
    option("journal", "string", "FILE",
      "append every result to FILE, so that an interrupted run can be resumed"),
    switch("resume", "resume the run in the journal: items that it has are not run again"),
    switch("retry-failed", "with --resume: run failed items again"),
    switch("dry-run", "list the items, run nothing"),
    option("retries", "integer", "N", "run an item again, up to N times, when its worker or node "
      .. "was lost; 0: never (default: the job's, or 2)", { min = 0, max = MAX_COUNT }),
    option("timeout", "duration", "S",
      "time limit of one item, such as 30, 1.5s or 2m (default: the job's, or no limit)"),
    option("concurrency", "integer", "N",
      "items in flight at once in each worker (default: the job's, or 64)",
      { min = 1, max = MAX_COUNT }),
    option("batch", "integer", "N", "items that a worker gets at once (default: the job's, or "
      .. "adaptive)", { min = 1, max = MAX_COUNT }),
    table.unpack(PRIVATE_NODE),
  },
  notes = { {
    title = "Exit codes",
    { "0", "every item succeeded" },
    { "1", "some items, the input or the output failed" },
    { "2", "the command line or the job script is wrong" },
    { "3", "there were no workers" },
    INTERRUPTED,
    { "141", "the reader of the results closed the pipe" },
  } },
}

commands[#commands + 1] = {
  name = "eval",
  summary = "evaluate Lua code on a node, or on all nodes",
  usage = "CODE|- [ARG]...",
  min_args = 1,
  needs = "code",
  text = {
    "Evaluates code, an expression or statements (- reads it from stdin), in a worker of the node "
      .. "with the least to do. The arguments are strings, `...` and `arg` in the code.",
    "Writes the results to stdout, a string as it is and other values as Lua writes them, and "
      .. "what the code prints to stderr, after the node's name.",
  },
  examples = {
    { "eval '1 + 1'", "a value" },
    { "eval --all 'os.time()'", "the clocks of all nodes" },
    { "eval --json '{ sum = digest.sha256(...) }' abc", "with an argument, as JSON" },
  },
  flags = {
    option("node", "string", "NAME", "evaluate the code on this node", { completes = "nodes" }),
    switch("all", "evaluate the code once on every node"),
    switch("json",
      "write the value as JSON, several as an array; with --all an object by node"),
    option("timeout", "duration", "S", "time limit, such as 30, 1.5s or 2m (default: no limit)"),
    table.unpack(PRIVATE_NODE),
  },
  notes = { {
    title = "Exit codes",
    { "0", "the code was evaluated on every selected node" },
    { "1", "the code raised, or a node gave no result" },
    { "2", "the command line or the code is wrong" },
    { "3", "there was no such node" },
    INTERRUPTED,
  } },
}

commands[#commands + 1] = {
  name = "repl",
  summary = "open a prompt that evaluates Lua, locally or on nodes",
  max_args = 0,
  text = {
    "Reads Lua code from the terminal, evaluates it locally, on one node or on all nodes, and "
      .. "writes the values; :help explains more. Input that is not a terminal is read without a "
      .. "prompt.",
    "The history is in the file that MOONFLEET_HISTORY names, or in "
      .. "~/.local/state/moonfleet/history; an empty MOONFLEET_HISTORY keeps none.",
  },
  examples = {
    { "repl --peers 127.0.0.1:5441,127.0.0.1:5442", "then :nodes, or :on all and code" },
    { "repl < script.lua", "the lines of a file, one after the other" },
  },
  flags = { table.unpack(PRIVATE_NODE) },
}

commands[#commands + 1] = {
  name = "serve",
  summary = "run a node that offers this machine's cores",
  max_args = 0,
  text = {
    "Runs a node until SIGTERM: it takes items from drivers (moonfleet run --peers) and runs them "
      .. "in worker processes. On SIGTERM it finishes the running items and refuses new ones. "
      .. "On SIGHUP it looks for new keys in the folder of --tls, and opens the file of --audit "
      .. "again.",
    "Without --tls it listens on loopback and on sockets of files alone: whoever can connect can "
      .. "run code. docs/fleet.md describes how other machines reach it.",
  },
  examples = {
    { "serve", "on 127.0.0.1:5440, one worker per core" },
    { "serve --listen 127.0.0.1:5441 --workers 2 --name two", "a second node on this machine" },
    { "serve --listen tcp://0.0.0.0:5440 --tls DIR", "for other machines, see keygen" },
  },
  flags = {
    option("listen", "list", "URL",
      "addresses to listen on, separated by commas (default: tcp://127.0.0.1:5440)"),
    option("ipc-mode", "string", "OCTAL", "mode of the socket of ipc:///PATH; with 660, for "
      .. "example, users of its group may submit jobs too (default: 600)"),
    option("workers", "integer", "N", "worker processes (default: one per core)",
      { min = 1, max = MAX_WORKERS }),
    option("worker-memory", "size", "BYTES", "memory limit of one worker process, such as 512M; 0: "
      .. "no limit (default: 2G)"),
    allow_hosts("jobs", "none"),
    trusted_modules("jobs"),
    option("lease", "duration", "S",
      "how long a driver may be silent before its tasks are stopped (default: 15)"),
    option("lease-exit", "duration", "S", "leave when no driver has been heard for this long "
      .. "(default: 60 with --stdio; never without)"),
    switch("stdio", "serve one driver over standard input and output, and end with them; for "
      .. "launchers such as ssh"),
    option("drain-timeout", "duration", "S", "how long a draining node waits for the tasks that "
      .. "run, before their drivers run them elsewhere (default: until they end)"),
    option("worker-cgroup", "string", "DIR", "control group (version 2) for the workers; stdout: "
      .. "that whose cgroup.procs is open as standard output, as in moonfleet.service (default: "
      .. "the node's)"),
    option("http", "string", "ADDR", "answer those who watch the node at this address, such as "
      .. "127.0.0.1:9440: /healthz, /readyz, /metrics (Prometheus), /status.json (default: none)"),
    switch("http-public", "allow --http on an address that other machines reach: they may read "
      .. "health and metrics, and do nothing else"),
    option("audit", "string", "FILE", "append a line of JSON for each session and job (see "
      .. "docs/security.md)"),
    option("lifecycle-hook", "string", "NAME", "with --discover ec2: the hook by which the Auto "
      .. "Scaling group waits until this node has drained (default: moonfleet-drain)"),
    option("name", "string", "NAME",
      "name of the node in lists and errors (default: the host's name and the port)"),
    -- for tests
    option("frozen-after", "duration", "S", "a worker that has tasks and gives no sign of life for "
      .. "this long is killed (default: 15)", { hidden = true }),
    -- how a driver starts its private node
    option("session-fd", "integer", "FD", "socket that is the node's only channel",
      { min = 3, hidden = true }),
  },
}

commands[#commands + 1] = {
  name = "web",
  summary = "serve a web page that runs jobs, computes checksums and shows the fleet",
  max_args = 0,
  text = {
    "Serves a page for browsers of this machine: paste or upload URLs, and see the SHA-256 of each "
      .. "as it is done, and which node has computed it; or run a job of the folders of --scripts. "
      .. "Runs are kept, and can be resumed after the program has ended.",
    "Whoever can open the page can run code on the fleet, so it listens on loopback alone. "
      .. "docs/web.md describes how other machines reach it.",
  },
  examples = {
    { "web", "on http://127.0.0.1:8440/, with the cores of this machine" },
    { "web --peers build1,build2 --tls ~/.moonfleet/search", "with other nodes" },
  },
  flags = {
    option("listen", "string", "ADDR", "address of the page (default: 127.0.0.1:8440)"),
    option("server-name", "list", "NAMES", "names by which browsers call the page, such as that of "
      .. "a proxy in front of it (default: localhost, and any address)"),
    option("scripts", "list", "DIRS", "folders with job scripts for the page Jobs (default: those "
      .. "that are installed with the program)"),
    option("state", "string", "DIR", "folder that keeps the runs (default: "
      .. "~/.local/state/moonfleet/web; of a service, that of its state)"),
    table.unpack(PRIVATE_NODE),
  },
}

commands[#commands + 1] = {
  name = "nodes",
  summary = "list the nodes and their state",
  max_args = 0,
  text = { "Lists the nodes with their state, workers and load, and also those that get no work." },
  examples = {
    { "nodes --peers 127.0.0.1:5441,127.0.0.1:5442", "the nodes of a list" },
    { "nodes --peers build1,build2 --tls ~/.moonfleet/search", "of other machines, by TLS" },
    { "nodes --discover ec2 --release abc123 --json", "the nodes on EC2, for a program" },
  },
  flags = {
    switch("json", "write an array of objects, for programs"),
    switch("names", "write only the names of the usable nodes, for programs"),
  },
  notes = { {
    title = "Exit codes",
    { "0", "at least one node is usable" },
    { "2", "the command line or the keys are wrong" },
    { "3", "no node is usable" },
  } },
}

commands[#commands + 1] = {
  name = "doctor",
  summary = "diagnose a fleet and suggest fixes",
  max_args = 0,
  text = {
    "Checks this machine, the discovery (--discover ec2: credentials, region, permission, "
      .. "instances), the keys (--tls: their modes, dates and role), and that each node can be "
      .. "reached, accepts the keys, agrees on the time and does work. Each line is ok, warn or "
      .. "fail, and below it is the suggested fix.",
  },
  examples = { { "doctor --discover ec2 --release abc123", "before the first run" } },
  flags = { switch("json", "write an array of {check, status, detail, fix}, for programs") },
  notes = { { title = "Exit codes", { "0", "nothing is wrong" }, { "1", "something is wrong" } } },
}

commands[#commands + 1] = {
  name = "keygen",
  summary = "make and revoke the keys of a fleet, for --tls",
  usage = "DIR",
  completes = { { kind = "folders" } },
  min_args = 1,
  max_args = 1,
  needs = "a folder for the keys",
  text = {
    "Makes the keys by which nodes and drivers recognize each other: in DIR a certificate "
      .. "authority (CA), and below it a folder for each key pair that the CA has certified, "
      .. "ready for --tls. --fleet makes the CA of a new fleet; later commands add pairs and "
      .. "revoke them.",
    "The pair for nodes proves that a node belongs to the fleet, that of a driver that it may "
      .. "submit jobs. An observer may look at the nodes, but submit nothing. Keys are not "
      .. "encrypted; only their owner can read them. Nothing is ever overwritten, except for "
      .. "crl.pem.",
    "DIR/ca.key can certify anybody: keep it where it was made, with a backup. It is needed for no "
      .. "other command. docs/security.md describes renewal, revocation and the change of the CA.",
  },
  examples = {
    { "keygen ./keys --fleet search", "a CA, a pair for all nodes, and one for drivers" },
    { "keygen ./keys --driver alice --observer bob", "pairs for two people" },
    { "keygen ./keys --node", "another pair for nodes, before the first one expires" },
    { "keygen ./keys --revoke keys/driver-alice", "alice has lost her laptop" },
    { "keygen ./keys --crl", "the list of revoked certificates is about to expire" },
    { "keygen ./keys --fleet search --store ssm:/moonfleet/search", "a new fleet on EC2, whose "
      .. "instances read their keys from Parameter Store" },
  },
  flags = {
    option("fleet", "string", "NAME", "make the CA of a new fleet with this name (lower-case "
      .. "letters, digits and hyphens), a pair for nodes and one for drivers", TYPED),
    option("node", "boolean", nil, "make another pair for nodes, in DIR/node-2 and so on", TYPED),
    option("driver", "list", "NAMES", "make a pair for each of these drivers, in DIR/driver-NAME; "
      .. "the name is for logs", TYPED),
    option("observer", "list", "NAMES", "the same for observers, which may submit nothing", TYPED),
    option("revoke", "string", "CERT", "revoke a certificate: its file, the folder of its pair, or "
      .. "its serial number. Writes crl.pem beside each ca.crt below DIR", TYPED),
    option("crl", "boolean", nil, "write crl.pem again, which renews it", TYPED),
    option("store", "string", "ssm:/PATH", "put the pairs into AWS's Parameter Store as well, "
      .. "encrypted, as PATH/node, PATH/driver and so on: the new ones, or else those that are "
      .. "there already; ssm: alone is ssm:/moonfleet/FLEET", TYPED),
    option("kms-key", "string", "ID", "encrypt them with this KMS key (default: the one in use, or "
      .. "the account's key for Parameter Store)", TYPED),
    option("days", "integer", "N", "validity of the new pairs (default: 365), or of crl.pem "
      .. "(default: 180); a CA is valid for 10 years", { min = 1, max = MAX_DAYS,
        typed_only = true }),
  },
  notes = { { title = "Exit codes",
    { "0", "everything was made" },
    { "1", "the folder cannot be written; no key was made" },
    { "2", "the command line is wrong, or something in the folder; nothing was made" },
  } },
}

commands[#commands + 1] = {
  name = "completion",
  summary = "print the completion of command lines, for a shell",
  usage = "bash|zsh|fish",
  min_args = 1,
  max_args = 1,
  needs = "the name of a shell",
  completes = { { kind = "words", words = { "bash", "zsh", "fish" } } },
  text = {
    "Prints a script by which the shell completes commands, flags, their values, files and names "
      .. "of nodes. Packages and make install put it where shells look for such scripts; a program "
      .. "that was copied needs it there, too.",
  },
  examples = {
    { "completion bash > moonfleet", "for ~/.local/share/bash-completion/completions" },
    { "completion zsh > _moonfleet", "for a folder that is in fpath before compinit" },
    { "completion fish > moonfleet.fish", "for ~/.config/fish/completions" },
  },
  flags = {},
}

commands[#commands + 1] = {
  name = "version",
  summary = "print the versions of the program and its libraries",
  max_args = 0,
  text = {
    "Prints the version of the program, below it the commit that it was built from (-dirty: with "
      .. "changes), and the versions of the libraries that it uses. -V and --version do the same.",
  },
  examples = { { "version --json", "an object with the commit, and the version of each by name" } },
  flags = { switch("json", "write an object, for programs") },
}

local help_topics = { "flags" }

commands[#commands + 1] = {
  name = "help",
  summary = "show help for a command, or for the common flags",
  usage = "[COMMAND|flags]",
  max_args = 1,
  completes = { { kind = "words", words = help_topics } },
  text = {
    "Prints the help of a command, of the flags and variables that every command has (flags), or "
      .. "the list of commands.",
  },
  examples = { { "help run", "as run --help" }, { "help flags", "how nodes are named and found" } },
  flags = {},
}
for _, command in ipairs(commands) do table.insert(help_topics, command.name) end

return commands
