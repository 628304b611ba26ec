-- SPDX-License-Identifier: MIT
-- `moonfleet repl`: opens the terminal and the history, and joins them with a
-- session (fleet.repl) and the signals.

local driver = require("fleet.driver")
local history_file = require("fleet.repl.history")
local program = require("fleet.cli.program")
local prompt = require("fleet.repl.prompt")
local repl = require("fleet.repl")
local sys = require("host.sys")
local targets = require("fleet.repl.targets")
local task = require("host.task")

local BANNER = "moonfleet %s, %s. :help explains the commands, Ctrl-D leaves.\n"

--- Reads and evaluates until the end of the input, in a task that a signal may end wherever it
--- waits.
local function converse(session, terminal, history)
  while not session.finished do
    local line, why = terminal:read(session:prompt())
    if line then
      local entry = session:feed(line)
      if entry and terminal.interactive then history:add(entry) end
    else
      local is_end = why ~= "interrupt"
      session:abandon(is_end)
      if is_end then return end
    end
  end
end

--- Leaves the terminal and the nodes in order when os.exit is called at the prompt.
local function replace_exit(env, cleanup)
  env.os = setmetatable({
    exit = function(...)
      cleanup()
      os.exit(...)
    end,
  }, { __index = os })
end

---@return integer exit code
return function()
  local session, terminal
  local function print_lines(s) terminal:print(s) end
  local history = history_file.open(history_file.default_path(os.getenv))
  local env, load_text = repl.environment(print_lines)
  local function on_print(node, text) print_lines(session:printed(node, text)) end
  driver.show_prints(on_print)
  local nodes = targets.new({ loader = load_text, on_print = on_print })
  terminal = prompt.open({
    history = history,
    complete = function(...) return session:complete(...) end,
  })
  local is_terminal = terminal.interactive
  local function write_stderr(s)
    io.stdout:flush()
    io.stderr:write(s)
  end
  session = repl.new({
    targets = nodes, start = task.start, env = env, load = load_text, now = sys.now,
    out = print_lines, err = is_terminal and print_lines or write_stderr,
    width = sys.width, interactive = is_terminal,
    color = is_terminal and (os.getenv("NO_COLOR") or "") == "",
  })
  local function cleanup()
    terminal:close()
    nodes:close()
  end
  replace_exit(env, cleanup)
  task.preempt()
  if is_terminal then print_lines(BANNER:format(sys.version, _VERSION)) end
  local code = program.run(function() converse(session, terminal, history) end,
    function(signal, running)
      local stopped = session:cancel()
      if signal ~= "INT" or not stopped and not is_terminal then
        running:cancel()
        return true
      elseif not stopped then -- at the prompt Ctrl-C is a key, so this one followed a line closely
        session:abandon()
        terminal:show(session:prompt())
      end
      return false
    end, cleanup)
  if history.error then program.note("the history was not kept: %s", history.error.message) end
  return code or program.OK
end
