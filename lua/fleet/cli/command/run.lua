-- SPDX-License-Identifier: MIT
-- `moonfleet run`: runs a job script over items. This module opens what is needed, in the order in
-- which mistakes are cheapest to report, and connects the parts.

local check = require("fleet.base.check")
local driver = require("fleet.driver")
local errors = require("fleet.errors")
local file = require("host.file")
local host_driver = require("host.driver")
local input = require("fleet.run.input")
local job = require("fleet.run.job")
local journal = require("fleet.driver.journal")
local json = require("fleet.json")
local map = require("fleet.driver.map")
local modules = require("fleet.ship.modules")
local output = require("fleet.run.output")
local output_file = require("fleet.run.output_file")
local program = require("fleet.cli.program")
local progress = require("fleet.run.progress")
local reasons = require("fleet.run.reasons")
local script = require("fleet.run.script")
local script_blobs = require("fleet.driver.script_blobs")
local stream = require("host.stream")
local summary = require("fleet.run.summary")
local sys = require("host.sys")
local tabular = require("fleet.run.tabular")
local task = require("host.task")
local text = require("fleet.base.text")

-- What the private node of a driver script may do, too.
local OF_NODE = { allow_hosts = true, modules = true }
local MAX_REASONS = 3

local note, usage = program.note, errors.formatter("usage")

-- ---- where items come from ----

-- A file that cannot be read is reported before anything runs. A run may have more files (*.log)
-- than can be open at once, so each is open only while it is read; a pipe can be opened only once.
local function reader(path)
  local from, err
  if path == "-" then
    from = stream.stdin()
  else
    from, err = stream.open(path, "r")
    local about = file.about(path)
    if not from and not about then
      err.message = err.message .. "; with --items the arguments are the items, not files of them"
    end
    if not from then return nil, err end
    if about.type == "file" then
      from:close()
      from = nil
    end
  end
  return function()
    if not from then
      from, err = stream.open(path, "r")
      if not from then return nil, err end
    end
    local bytes, why = from:read()
    if not bytes then from:close() end
    return bytes, why
  end
end

local function open_source(loaded, flags, args)
  if flags.items then
    if #args == 0 then return nil, usage("--items needs items; give them after the job script") end
    return input.words(args)
  elseif #args == 0 and loaded.items then
    return input.from_job(loaded.items)
  elseif #args == 0 and sys.isatty(0) then
    return nil, usage("no items; name a file of items, - for stdin, or --items ITEM...")
  end
  local sources = {}
  for i, path in ipairs(#args > 0 and args or { "-" }) do
    local read, err = reader(path)
    if not read then return nil, err end
    local name = path == "-" and "stdin" or path
    sources[i] = flags.input == "jsonl" and input.jsonl(read, name, json.decode)
      or input.lines(read, name)
  end
  return input.chain(sources)
end

-- With a journal a sample is the same each time, so that it can be resumed.
local function select_items(source, flags, kept)
  if flags.sample then
    source = input.sample(source, flags.sample, function(item)
      return kept and kept:chance(item) or math.random()
    end)
  end
  if flags.limit then source = input.limit(source, flags.limit) end
  return source
end

-- ---- the journal ----

-- Identifies the job that made results: the texts of the script and of the modules that travel
-- with it, wherever they are stored.
local function identity_of(source)
  local parts = {}
  for name in pairs(modules.required_by(source)) do
    parts[#parts + 1] = string.pack("<s4s4", name, modules.find(name).text)
  end
  table.sort(parts)
  return source .. table.concat(parts)
end

-- Opens the journal of the run; nil when the flags name none, or nil and an error.
local function open_journal(source, path, flags)
  if not flags.journal then
    if not flags.resume and not flags.retry_failed then return nil end
    return nil, usage("--resume and --retry-failed need --journal FILE, the one to resume")
  elseif flags.retry_failed and not flags.resume then
    return nil, usage("--retry-failed goes with --resume")
  end
  local kept, err = journal.open({
    path = flags.journal, job = identity_of(source), name = path, retries = flags.retries or 2,
    resume = flags.resume, retry_failed = flags.retry_failed,
  })
  if not kept then return nil, err end
  for _, line in ipairs(kept.notes) do note("%s", line) end
  return kept
end

-- ---- the run ----

-- Ctrl-C once: finish the running items; twice: stop now; three times: exit, even during a write
-- that nobody reads or an endless reduce.
local function watch_signals(state)
  state.interrupted = host_driver.wait_signal()
  state.map:stop()
  local running = state.map.scheduler:counts().in_flight
  state.progress:clear()
  note("stopping: %s will be finished; once more to stop now", text.count(running, "running item"))
  state.interrupted = host_driver.wait_signal()
  state.map:abort(errors.format("cancelled", "the run was interrupted"))
  os.exit(program.SIGNALLED[host_driver.wait_signal()])
end

local function counts_of(state)
  local s = state.map.scheduler
  local counts = s:counts()
  return {
    done = counts.done + counts.failed + counts.resumed,
    failed = counts.failed + state.unwritten + (state.journal and state.journal.failures or 0),
    total = s.closed and counts.admitted - counts.dropped or nil,
    resumed = counts.resumed,
    workers = counts.workers,
    nodes = #state.cluster:ready(),
  }
end

local function show_progress(state)
  while true do
    task.sleep(state.tty and 0.1 or 1)
    state.progress:update(counts_of(state), sys.now())
  end
end

-- What each node has done: the current nodes, and then those that have left.
local function node_list(state)
  local list, counts = {}, state.map.scheduler:node_counts()
  local function add(name)
    local own = counts[name] or { ok = 0, failed = 0 }
    list[#list + 1] = {
      name = name, ok = own.ok, failed = own.failed, release = state.cluster.releases[name],
    }
    counts[name] = nil
  end
  for _, n in ipairs(state.cluster.nodes) do
    if n.state ~= "skew" then add(n.name) end
  end
  for _, name in ipairs(check.sorted_keys(counts)) do add(name) end
  return list
end

local function report_interruption(state)
  local dropped = state.map.scheduler:counts().dropped
  -- the summary must not read as if it were complete
  note("the run was cut short: %s, were not run", dropped > 0
    and text.count(dropped, "item") .. " that had been read, and any after"
    or "items that had not been read, if any")
  note(state.journal and "with --resume it goes on from its journal"
    or "with --journal FILE a run can go on where it was cut short, by --resume")
end

local function finish(state, ok, err)
  local input_err = state.map.input_error
  local notes, complete, output_err
  if state.journal then
    local kept, why = state.journal:close()
    if ok and not kept then ok, err = nil, why end
  end
  if not state.closed then
    notes, output_err = state.output:finish()
    -- a run cut short leaves FILE.partial, never a FILE that looks complete
    complete = notes and not state.output.lost and ok and not input_err and not state.interrupted
    if complete then complete, output_err = state.file:finish() end
  end
  state.progress:finish()
  if state.closed then return program.SIGNALLED.PIPE end
  for _, line in ipairs(notes or {}) do note("%s", line) end
  local problem = not ok and err or output_err -- the second would be the first again
  if problem then note("%s", problem.message) end
  if input_err then note("%s", input_err.message) end
  if state.file.partial and not complete then
    note("the results so far are in %s", state.file.partial)
  end
  local counts = counts_of(state)
  io.stderr:write(summary.text({
    counts = counts, nodes = node_list(state), elapsed = sys.now() - state.started,
  }))
  io.stderr:write(state.reasons:text(MAX_REASONS))
  if state.interrupted or not ok then
    report_interruption(state)
  elseif state.all_nil and counts.done > counts.failed and not state.output.reduce then
    note("%s nil: does map return its result?",
      counts.done == 1 and "the result is" or "all results are")
  end
  if state.interrupted then return program.SIGNALLED[state.interrupted] end
  if not ok and err.kind == "connect" then return program.NO_WORKERS end
  return complete and counts.failed == 0 and program.OK or program.FAILED
end

local function warn_of_unusable(p)
  for _, n in ipairs(p.nodes) do
    if n.state ~= "ready" then
      note("%s", n.error and n.error.message or ("%s is %s, not used"):format(n.name, n.state))
    end
  end
end

local function run_map(state, loaded, blobs, source, flags)
  local to_terminal = not flags.output and sys.isatty(1)
  local shared = state.tty and to_terminal -- with the progress
  local escape = flags.format == "csv" and to_terminal -- the other formats do so themselves
  state.output = output.new({
    format = flags.format,
    columns = flags.columns,
    json = json,
    width = sys.isatty(1) and sys.width() or nil,
    reduce = loaded.reduce,
    init = loaded.init,
    on_failure = function(item, err) state.reasons:add(item, err) end,
    write = function(bytes)
      if escape then bytes = text.plain(bytes) end
      if shared then state.progress:pause() end
      local ok, err = state.file:write(bytes)
      if shared then state.progress:resume() end
      if not ok and err.kind == "closed" then state.closed = true end
      return ok, err
    end,
  })
  state.map = map.new({
    cluster = state.cluster,
    blobs = blobs,
    source = source,
    timeout = flags.timeout,
    scheduler = { retries = flags.retries, batch = flags.batch, concurrency = flags.concurrency,
      ordered = not flags.unordered },
    journal = state.journal,
    on_row = function(item, ok, value)
      local written, err = state.output:row(item, ok, value)
      if written == nil then return nil, err end
      if not written then state.unwritten = state.unwritten + 1 end
      state.all_nil = state.all_nil and (not ok or value == nil)
      return true
    end,
    on_idle = function() state.output:flush() end,
  })
  local print_line = state.cluster.on_print
  state.cluster.on_print = function(...)
    state.progress:clear()
    print_line(...)
  end
  task.spawn(watch_signals, state)
  task.spawn(show_progress, state)
  if state.journal then task.spawn(state.journal.keep_synced, state.journal) end
  return finish(state, state.map:run())
end

local function dry_run(source, to)
  local n, bad = 0, 0
  local item, err = source()
  while item ~= nil do
    n = n + 1
    local line = not err and json.encode_record("item", item)
    if not line then
      bad = bad + 1
      err = err or select(2, json.encode(item))
      line = json.encode_record("item", json.encode(item) and item or text.escape(tostring(item)),
        "error", err)
    end
    local ok, why = to:write(line .. "\n")
    if not ok and why.kind == "closed" then return program.SIGNALLED.PIPE end
    if not ok then return nil, why end
    item, err = source()
  end
  if err then
    note("%s", err.message)
    if to.partial then note("the items so far are in %s", to.partial) end
  else
    local ok, why = to:finish()
    if not ok then return nil, why end
  end
  note("%s; nothing was run", text.count(n, "item"))
  return (err or bad > 0) and program.FAILED or program.OK
end

-- ---- driver scripts ----

-- Refuses what only a job can use: flags about items and results, and words that the script
-- cannot see.
local function check_driver_script(path, invocation, found)
  local flags, word = {}, invocation.args[1]
  for key, origin in pairs(invocation.origins) do
    if origin.of_command and origin.typed and not OF_NODE[key] then
      flags[#flags + 1] = origin.name
    end
  end
  table.sort(flags)
  if flags[1] then
    return nil, usage("%s returns no job, so it is a driver script, which has no use for %s; a job "
      .. "ends with return { map = ... }", path, flags[1])
  elseif word and not found.sees_words then
    return nil, usage("%s returns no job, so it is a driver script: the words after it are its "
      .. "own, and it does not read %s; write flags of moonfleet before it; a job ends with "
      .. "return { map = ... }", path, text.quote(word))
  end
  return true
end

local function after_driver_script(path, invocation, found)
  local ok, err = check_driver_script(path, invocation, found)
  if not ok then return nil, err end
  if found.builds_map and not driver.is_open() then
    note("%s returned nothing and used no node; a job ends with return { map = ... }", path)
  end
  return program.OK
end

-- ---- jobs ----

-- A flag on the line that has no effect is a mistake.
local function check_input(invocation)
  local origin = invocation.origins.input
  if invocation.flags.items and origin and origin.typed then
    return usage("--input says what the lines of files are; with --items each argument is an item")
  end
end

local function check_columns(flags, loaded)
  if not flags.columns then return nil end
  if flags.format == "jsonl" then
    return usage("--columns is for --format csv or table; a line of JSON has all fields")
  elseif loaded.reduce then
    return usage("--columns is for results; this job has a reduce, and so one value")
  end
  local fault = tabular.columns_fault(flags.columns)
  return fault and usage("--columns: %s", fault)
end

-- Refuses to overwrite a file that is read, or to write one file twice.
local function check_files(path, flags, args, loaded)
  local read, written = {}, {}
  local function add(list, name, file_path) list[#list + 1] = { name = name, path = file_path } end
  add(read, "the job script " .. path, path)
  if #args == 0 and not flags.items and not loaded.items then add(read, "stdin", 0) end
  for _, name in ipairs(flags.items and {} or args) do
    add(read, name == "-" and "stdin" or "the file of items " .. name, name == "-" and 0 or name)
  end
  if flags.journal and not flags.dry_run then
    add(written, "--journal " .. flags.journal, flags.journal)
  end
  if flags.output then
    add(written, "--output " .. flags.output, flags.output)
    add(written, flags.output .. ".partial, where --output begins,", flags.output .. ".partial")
  else
    add(written, "stdout", 1)
  end
  return output_file.conflict(written, read)
end

-- A file that is not Lua may be a file of items in the place of the script.
local function with_hint(err, source, args)
  if load(source, "=script", "t") then return err end
  for _, word in ipairs(args) do
    if word:find("%.lua$") and file.about(word) then
      err.message = ("%s; the job script comes first: %s"):format(err.message, text.quote(word))
      break
    end
  end
  return err
end

local function load_script(invocation)
  local args = invocation.args
  local path = table.remove(args, 1)
  local source, err = script.read(path)
  if not source then return nil, err end
  local found = script.examine(source)
  if found.is_driver then
    local ok, why = check_driver_script(path, invocation, found)
    if not ok then return nil, why end
  end
  _G.arg = table.move(args, 1, #args, 1, { [0] = path })
  local folder = path:match("^(.*/)") or "./"
  package.path = ("%s?.lua;%s?/init.lua;%s"):format(folder, folder, package.path)
  task.preempt() -- so that signals are handled while the script computes
  local loaded
  loaded, err = job.load(source, "@" .. path, nil, table.unpack(args))
  if not loaded then return nil, with_hint(err, source, args) end
  return { path = path, source = source, found = found, loaded = loaded }
end

local function run_script(invocation)
  local flags, args = invocation.flags, invocation.args
  local given, err = load_script(invocation)
  if not given then return nil, err end
  local path, loaded = given.path, given.loaded
  if loaded.script then return after_driver_script(path, invocation, given.found) end

  err = check_input(invocation) or check_columns(flags, loaded)
    or check_files(path, flags, args, loaded)
  if err then return nil, err end
  local items
  items, err = open_source(loaded, flags, args)
  if not items then return nil, err end
  for name, value in pairs(loaded.options) do -- those on the command line win
    if flags[name] == nil then flags[name] = value end
  end
  local kept
  if not flags.dry_run then
    kept, err = open_journal(given.source, path, flags)
    if err then return nil, err end
  end
  items = select_items(items, flags, kept)
  local to
  to, err = output_file.open(flags.output)
  if not to then return nil, err end
  if flags.dry_run then return dry_run(items, to) end

  local own
  own, err = driver.get() -- the script may have used it already
  if not own then
    to:discard()
    return nil, err
  end
  warn_of_unusable(own.cluster)
  local tty = sys.isatty(2) and os.getenv("TERM") ~= "dumb"
  local state = {
    cluster = own.cluster, file = to, unwritten = 0, tty = tty, all_nil = true,
    reasons = reasons.new(), started = sys.now(), journal = kept,
    progress = progress.new({
      write = function(bytes) io.stderr:write(bytes) end,
      is_tty = tty,
      width = function() return sys.width() or 80 end,
      now = sys.now(),
    }),
  }
  local blobs = script_blobs.of(given.source, path, flags.concurrency)
  return run_map(state, loaded, blobs, items, flags)
end

---@param invocation fleet.cli.Invocation
---@return integer|nil exit code
---@return fleet.Error|nil
return function(invocation)
  local code, err = run_script(invocation)
  driver.close()
  return code, err
end
