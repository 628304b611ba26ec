-- SPDX-License-Identifier: MIT
-- `moonfleet run`: a job script over items. This module opens what is needed,
-- in the order in which mistakes are cheapest to report, and joins the parts.

local child = require("host.child")
local codec = require("host.codec")
local digest = require("fleet.digest")
local driver = require("fleet.driver")
local errors = require("fleet.errors")
local input = require("fleet.run.input")
local job = require("fleet.run.job")
local journal = require("fleet.journal")
local json = require("fleet.json")
local map = require("fleet.map")
local modules = require("fleet.ship.modules")
local output = require("fleet.run.output")
local progress = require("fleet.run.progress")
local stream = require("host.stream")
local summary = require("fleet.run.summary")
local sys = require("host.sys")
local task = require("host.task")
local text = require("fleet.text")

local OK, FAILED, NO_WORKERS = 0, 1, 3
local INTERRUPTED = { INT = 130, TERM = 143 }
local CLOSED = 141 -- as a shell reports a process that SIGPIPE ended

local function usage(format, ...)
  return errors.new({ kind = "usage", message = format:format(...) })
end

local function say(format, ...)
  io.stderr:write("moonfleet: ", format:format(...), "\n")
end

-- ---- the script ----

local function read_script(path)
  local file, message = io.open(path, "rb")
  local source = file and file:read("a")
  if file then file:close() end
  if source then return source end
  -- "PATH: No such file or directory", or nothing for a directory
  return nil, usage("cannot read the job script %s", message or path .. ": not a file")
end

-- ---- where items come from ----

-- A file that cannot be read is said before anything runs. More of them than may be
-- open at once are common (*.log), so each is open only while it is read; but a
-- pipe can be opened once only.
local function reader(path)
  local file, err
  if path == "-" then
    file = stream.stdin()
  else
    file, err = stream.open(path, "r")
    if not file then return nil, err end
    if not stream.is_special(path) then
      file:close()
      file = nil
    end
  end
  return function()
    if not file then
      file, err = stream.open(path, "r")
      if not file then return nil, err end
    end
    local bytes, why = file:read()
    if not bytes then file:close() end
    return bytes, why
  end
end

local function file_source(path, kind)
  local read, err = reader(path)
  if not read then return nil, err end
  local name = path == "-" and "stdin" or path
  if kind == "jsonl" then return input.jsonl(read, name, json.decode) end
  return (input.lines(read, name))
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
    local source, err = file_source(path, flags.input)
    if not source then return nil, err end
    sources[i] = source
  end
  return input.chain(sources)
end

-- With a journal a sample is the same each time: to resume one is of use.
local function cut_down(source, flags, kept)
  if flags.sample then
    source = input.sample(source, flags.sample, function(item)
      return kept and kept:chance(item) or math.random()
    end)
  end
  if flags.limit then source = input.limit(source, flags.limit) end
  return source
end

-- ---- where results go ----

--- A file appears under its name only when it is complete. What has the name and
--- is no plain file, such as /dev/null, is written to: it must not be replaced.
local function open_sink(path)
  if not path or stream.is_special(path) then
    local out, err = stream.stdout(), nil
    if path then out, err = stream.open(path, "w") end
    if not out then return nil, err end
    return {
      write = function(bytes) return out:write(bytes) end,
      finish = function() return not path or out:close() end,
      discard = function() end,
    }
  end
  local partial = path .. ".partial"
  local file, err = stream.open(partial, "w")
  if not file then return nil, err end
  return {
    partial = partial,
    write = function(bytes) return file:write(bytes) end,
    finish = function()
      local ok, why = file:close()
      if not ok then return nil, why end
      local renamed, message = os.rename(partial, path)
      if renamed then return true end
      message = ("cannot rename '%s' to '%s': %s"):format(partial, path, message)
      return nil, errors.new({ kind = "output", message = message })
    end,
    discard = function() os.remove(partial) end,
  }
end

-- ---- the journal ----

-- What makes results this job's: the texts of the script and of the modules that
-- travel with it, wherever they lie.
local function identity_of(script)
  local parts = {}
  for name in pairs(modules.required_by(script)) do
    parts[#parts + 1] = string.pack("<s4s4", name, modules.find(name).text)
  end
  table.sort(parts)
  return script .. table.concat(parts)
end

-- The journal of the run, nil when there is to be none, or nil and an error.
local function open_journal(script, path, flags, retries)
  if not flags.journal then
    if not flags.resume and not flags.retry_failed then return nil end
    return nil, usage("--resume and --retry-failed need --journal FILE, the one to go on with")
  elseif flags.retry_failed and not flags.resume then
    return nil, usage("--retry-failed goes with --resume")
  end
  local kept, err = journal.open({
    path = flags.journal, job = identity_of(script), name = path, retries = retries or 2,
    resume = flags.resume, retry_failed = flags.retry_failed,
  })
  if not kept then return nil, err end
  for _, note in ipairs(kept.notes) do say("%s", note) end
  return kept
end

-- ---- the run ----

--- Options of the command line win over the job's.
local function settings(loaded, flags)
  local options = loaded.options
  local function pick(name)
    if flags[name] ~= nil then return flags[name] end
    return options[name]
  end
  return {
    timeout = pick("timeout"),
    concurrency = pick("concurrency") or 64,
    scheduler = {
      retries = pick("retries"),
      batch = pick("batch"),
      concurrency = pick("concurrency"),
      ordered = not pick("unordered"),
    },
  }
end

-- What workers need: the modules that the script requires, and last its definition.
local function define(source, path, chosen)
  local hashes = modules.required_by(source)
  local definition = assert(codec.encode({
    kind = "script", source = source, chunkname = "@" .. path, modules = hashes,
    concurrency = chosen.concurrency,
  }))
  local blobs = driver.module_blobs(hashes)
  blobs[#blobs + 1] = { key = digest.sha256(definition), bytes = definition }
  return blobs
end

-- Ctrl-C once: finish what runs; twice: stop now; three times: leave, whatever still goes on,
-- such as a write that nobody reads or a reduce without an end.
local function watch_signals(state)
  local signal = sys.wait_signal()
  state.interrupted = signal
  state.map:stop()
  local running = state.map.scheduler:counts().in_flight
  state.progress:clear()
  say("stopping: %d running items will be finished; once more to stop now", running)
  state.interrupted = sys.wait_signal()
  state.map:abort(errors.new({ kind = "cancelled", message = "the run was interrupted" }))
  os.exit(INTERRUPTED[sys.wait_signal()])
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
    nodes = #state.pool:ready(),
  }
end

local function show_progress(state)
  while true do
    task.sleep(state.tty and 0.1 or 1)
    state.progress:update(counts_of(state), sys.now())
  end
end

local function node_list(state)
  local list, left, seen = {}, {}, state.map.scheduler:node_counts()
  for _, n in ipairs(state.pool.nodes) do
    local did = seen[n.name] or { ok = 0, failed = 0 }
    if n.state ~= "skew" then
      list[#list + 1] = { name = n.name, ok = did.ok, failed = did.failed }
      seen[n.name] = nil
    end
  end
  for name, did in pairs(seen) do -- those that have left
    left[#left + 1] = { name = name, ok = did.ok, failed = did.failed }
  end
  table.sort(left, function(a, b) return a.name < b.name end)
  return table.move(left, 1, #left, #list + 1, list)
end

local function finish(state, ok, err)
  local input_err = state.map.input_error
  local notes, whole, output_err
  if state.journal then
    local kept, why = state.journal:close()
    if ok and not kept then ok, err = nil, why end
  end
  if not state.closed then
    notes, output_err = state.output:finish()
    -- a run cut short leaves FILE.partial, never a FILE that looks whole
    whole = notes and ok and not input_err and not state.interrupted
    if whole then whole, output_err = state.sink.finish() end
  end
  state.progress:finish()
  if state.closed then return CLOSED end
  for _, note in ipairs(notes or {}) do say("%s", note) end
  local problem = not ok and err or output_err -- the second would be the first again
  if problem then say("%s", problem.message) end
  if input_err then say("%s", input_err.message) end
  if state.sink.partial and not whole then say("what is done is in %s", state.sink.partial) end
  local counts = counts_of(state)
  io.stderr:write(summary.text({
    counts = counts, nodes = node_list(state), elapsed = sys.now() - state.started,
  }))
  -- the figures above must not read as if that had been all
  if state.interrupted or not ok then
    say("the run was cut short: %d items that had been read, and any after them, were not run",
      state.map.scheduler:counts().dropped)
    if state.journal then say("with --resume it goes on from its journal") end
  end
  if state.interrupted then return INTERRUPTED[state.interrupted] end
  if not ok and err.kind == "connect" then return NO_WORKERS end
  if not whole or counts.failed > 0 then return FAILED end
  return OK
end

local function warn_of_unusable(p)
  for _, n in ipairs(p.nodes) do
    if n.state ~= "ready" then
      say("%s", n.error and n.error.message or ("%s is %s, not used"):format(n.name, n.state))
    end
  end
end

local function run_map(state, loaded, blobs, source, chosen)
  -- rows and the progress may share a terminal
  local shared = state.tty and not state.flags.output and sys.isatty(1)
  state.output = output.new({
    format = state.flags.format,
    json = json,
    width = sys.isatty(1) and sys.width() or nil,
    reduce = loaded.reduce,
    init = loaded.init,
    write = function(bytes)
      if shared then state.progress:clear() end
      local ok, err = state.sink.write(bytes)
      if not ok and err.kind == "closed" then state.closed = true end
      return ok, err
    end,
  })
  state.map = map.new({
    pool = state.pool,
    blobs = blobs,
    source = source,
    timeout = chosen.timeout,
    scheduler = chosen.scheduler,
    journal = state.journal,
    on_row = function(item, ok, value)
      local written, err = state.output:row(item, ok, value)
      if written == nil then return nil, err end
      if not written then state.unwritten = state.unwritten + 1 end
      return true
    end,
    on_idle = function() state.output:flush() end,
  })
  state.pool.on_print = function(node, words)
    state.progress:clear()
    io.stderr:write(("[%s] %s\n"):format(node, words))
  end
  task.spawn(watch_signals, state)
  task.spawn(show_progress, state)
  if state.journal then task.spawn(state.journal.keep_synced, state.journal) end
  return finish(state, state.map:run())
end

local function dry_run(source, sink)
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
    local ok, why = sink.write(line .. "\n")
    if not ok and why.kind == "closed" then return CLOSED end
    if not ok then return nil, why end
    item, err = source()
  end
  if err then
    say("%s", err.message)
    if sink.partial then say("what was read is in %s", sink.partial) end
  else
    local ok, why = sink.finish()
    if not ok then return nil, why end
  end
  say("%d items; nothing was run", n)
  return (err or bad > 0) and FAILED or OK
end

local function run_script(invocation)
  local flags, args = invocation.flags, invocation.args
  local path = table.remove(args, 1)
  local script, err = read_script(path)
  if not script then return nil, err end
  _G.arg = table.move(args, 1, #args, 1, { [0] = path })
  local folder = path:match("^(.*/)") or "./"
  package.path = ("%s?.lua;%s?/init.lua;%s"):format(folder, folder, package.path)
  child.preempt() -- signals are answered while the script computes
  local loaded
  loaded, err = job.load(script, "@" .. path, nil, table.unpack(args))
  if not loaded then return nil, err end
  if loaded.script then return OK end

  local source, sink
  source, err = open_source(loaded, flags, args)
  if not source then return nil, err end
  local chosen = settings(loaded, flags)
  local kept
  if not flags.dry_run then
    kept, err = open_journal(script, path, flags, chosen.scheduler.retries)
    if err then return nil, err end
  end
  source = cut_down(source, flags, kept)
  sink, err = open_sink(flags.output)
  if not sink then return nil, err end
  if flags.dry_run then return dry_run(source, sink) end

  local own
  own, err = driver.get() -- the script may have used it already
  if not own then
    sink.discard()
    return nil, err
  end
  warn_of_unusable(own.pool)
  local tty = sys.isatty(2)
  local state = {
    flags = flags, pool = own.pool, sink = sink, unwritten = 0, tty = tty,
    started = sys.now(), journal = kept,
    progress = progress.new({
      write = function(bytes) io.stderr:write(bytes) end,
      is_tty = tty,
      width = function() return sys.width() or 80 end,
      now = sys.now(),
    }),
  }
  return run_map(state, loaded, define(script, path, chosen), source, chosen)
end

---@param invocation fleet.cli.Invocation
---@return integer|nil exit code
---@return fleet.Error|nil
return function(invocation)
  local code, err = run_script(invocation)
  driver.close()
  return code, err
end
