-- SPDX-License-Identifier: MIT
-- `moonfleet repl`: opens the terminal and the history, and joins them with a
-- session (fleet.repl) and the signals.

local chunks = require("fleet.ship.chunks")
local driver = require("fleet.driver")
local history = require("fleet.repl.history")
local host_driver = require("host.driver")
local prompt = require("fleet.repl.prompt")
local repl = require("fleet.repl")
local sys = require("host.sys")
local targets = require("fleet.repl.targets")
local task = require("host.task")

local INTERRUPTED = { INT = 130, TERM = 143 }

local BANNER = "moonfleet %s, %s. :help tells what there is, Ctrl-D leaves.\n"

-- The texts of what is typed, for functions that are shipped.
local function record(chunkname, text)
  chunks.record(chunkname, text)
end

local function say(s)
  io.stdout:flush()
  io.stderr:write(s)
end

--- Reads and evaluates until the end of input. In a task of its own, which a
--- signal may end wherever it waits.
local function converse(session, terminal, past)
  while not session.finished do
    local line, why = terminal:read(session:prompt())
    if line then
      local entry = session:feed(line)
      if entry and terminal.interactive then past:add(entry) end
    elseif why == "interrupt" then
      session:give_up()
    else
      session:give_up(true)
      return
    end
  end
end

local function watch_signals(state, session, terminal)
  while true do
    local signal = host_driver.wait_signal()
    local stopped = session:cancel()
    if signal ~= "INT" or not stopped and not terminal.interactive then
      state.ended_by = signal
      state.conversation:cancel()
    elseif not stopped then -- at the prompt Ctrl-C is a key, so this one came right behind a line
      session:give_up()
      terminal:show(session:prompt())
    end
  end
end

--- os.exit at the prompt leaves the terminal and the nodes in order.
local function replace_exit(env, terminal, nodes)
  env.os = setmetatable({
    exit = function(...)
      terminal:close()
      nodes:close()
      os.exit(...)
    end,
  }, { __index = os })
end

---@return integer exit code
return function()
  local session, terminal
  local function print_lines(s) terminal:print(s) end
  local past = history.open(history.default_path(os.getenv))
  local env, load_text = repl.environment(print_lines, record)
  local function on_print(node, text) print_lines(session:printed(node, text)) end
  driver.show_prints(on_print)
  local nodes = targets.new({ loader = load_text, on_print = on_print })
  terminal = prompt.open({
    history = past,
    complete = function(...) return session:complete(...) end,
  })
  local is_terminal = terminal.interactive
  session = repl.new({
    targets = nodes, start = task.start, env = env, load = load_text, now = sys.now,
    out = print_lines, err = is_terminal and print_lines or say,
    width = sys.width, interactive = is_terminal,
    color = is_terminal and (os.getenv("NO_COLOR") or "") == "",
  })
  replace_exit(env, terminal, nodes)
  task.preempt()
  if is_terminal then print_lines(BANNER:format(sys.version, _VERSION)) end
  local state = { conversation = task.start(converse, session, terminal, past) }
  task.spawn(watch_signals, state, session, terminal)
  local ok, err, traceback = state.conversation:join()
  terminal:close()
  nodes:close()
  if past.error then say("moonfleet: the history was not kept: " .. past.error.message .. "\n") end
  if state.ended_by then return INTERRUPTED[state.ended_by] end
  if not ok then error(("%s\n%s"):format(tostring(err), tostring(traceback)), 0) end
  return 0
end
