-- SPDX-License-Identifier: MIT
-- `moonfleet repl` as people use it, in a terminal (tmux), and with input from a pipe.

local e2e = require("spec.support.e2e")
local lfs = require("lfs")

-- How a traceback names a global function.
local FRAME = _VERSION == "Lua 5.4" and "function" or "global"

describe("moonfleet repl", function()
  local world, socket
  before_each(function()
    world = e2e.new()
    socket = world:path("tmux")
  end)

  local function tmux(...)
    return world:start({ "tmux", "-S", socket, "-f", "/dev/null", ... }):wait()
  end

  after_each(function()
    if e2e.exists(socket) then tmux("kill-server") end
    world:close()
  end)

  --- Starts the program in a terminal with `columns` columns, as a child of a shell.
  local function open(columns, flags)
    tmux("new-session", "-d", "-x", tostring(columns or 80), "-y", "40",
      ("env LC_ALL=C.UTF-8 PS1='$ ' MOONFLEET_HISTORY='%s' bash --norc"):format(
        world:path("history")))
    tmux("send-keys", "-l", ("%s repl %s"):format(e2e.program, flags or ""))
    tmux("send-keys", "Enter")
  end

  local function screen()
    return (tmux("capture-pane", "-p", "-J").out:gsub("%s+$", ""))
  end

  --- Waits until the screen ends with `text`.
  local function shows(text)
    local last
    local ok = pcall(e2e.wait_until, text, function()
      last = screen()
      return last:sub(-#text) == text
    end)
    if not ok then error(("waited for %q, the screen is:\n%s"):format(text, last), 2) end
  end

  local function keys(...) tmux("send-keys", ...) end
  local function write(text) tmux("send-keys", "-l", text) end

  --- Types a line and waits for its effect.
  local function enter(line, expected)
    write(line)
    keys("Enter")
    shows(expected .. "\nlocal>")
  end

  local function pid_of_program()
    local shell = tonumber(tmux("display-message", "-p", "#{pane_pid}").out)
    return e2e.children(shell)[1]
  end

  local function terminal_is_restored()
    tmux("send-keys", "-l", "clear; stty -a | grep -ow -e icanon -e echo -e isig | sort | xargs")
    keys("Enter")
    shows("echo icanon isig\n$")
  end

  it("evaluates what is typed, with the keys of an editor", function()
    open()
    shows("\nlocal>")
    enter("1 + 1", "\n2")
    write("'grün' .. 'z'")
    keys("Left", "BSpace")
    write("ß")
    keys("Home", "DC")
    write("'")
    keys("Enter")
    shows('\n"grünß"\nlocal>')
    enter("error('boom')", "repl:3:1: boom\nstack traceback:\n  [C]: in " .. FRAME .. " 'error'\n"
      .. "  repl:3:1: in main chunk")
    keys("C-d")
    shows("\n$")
    terminal_is_restored()
  end)

  it("goes on in further lines, and clears the line at Ctrl-C", function()
    open()
    shows("local>")
    write("for i = 1, 2 do")
    keys("Enter")
    shows("\n    >>")
    write("  print(i)")
    keys("Enter")
    enter("end", "    >> end\n1\n2")
    write("nonsense")
    keys("C-c")
    shows("nonsense^C\nlocal>")
    write("do")
    keys("Enter")
    shows("\n    >>")
    keys("C-c")
    shows("^C\nlocal>")
    enter("3", "\n3")
  end)

  it("takes pasted lines as one, for the history too", function()
    open()
    shows("local>")
    tmux("set-buffer", "local t = {}\n\nfor i = 1, 3 do t[i] = i end\nreturn t\n")
    tmux("paste-buffer", "-p")
    shows("return t")
    keys("Enter")
    shows("\n{1, 2, 3}\nlocal>")
    keys("Up", "C-e")
    write(", 'again'")
    keys("Enter")
    shows('\n{1, 2, 3}, "again"\nlocal>')
  end)

  it("keeps the history from one session to the next, and searches it", function()
    open()
    shows("local>")
    enter("first = 10", "first = 10")
    enter("first * 2", "\n20")
    keys("C-d")
    shows("\n$")
    assert.equal("rw-------", lfs.attributes(world:path("history"), "permissions"))
    write(e2e.program .. " repl")
    keys("Enter")
    shows("local>")
    keys("Up", "Up", "Enter")
    shows("local> first = 10\nlocal>")
    keys("C-r")
    write("* ")
    shows("(search) '* ': first * 2")
    keys("Enter")
    shows("local> first * 2\n20\nlocal>")
  end)

  it("completes names, fields and commands", function()
    open()
    shows("local>")
    write("string.rev")
    keys("Tab")
    shows("local> string.reverse")
    write("('ab'), string.re")
    keys("Tab")
    shows("rep  reverse\nlocal> string.reverse('ab'), string.re")
    keys("C-c")
    write(":he")
    keys("Tab")
    shows("local> :help")
  end)

  it("stops at Ctrl-C what computes or waits, and goes on", function()
    open()
    shows("local>")
    for _, code in ipairs({ "while true do end", "fleet.sleep(1000)" }) do
      write(code)
      keys("Enter")
      shows(code)
      e2e.wait_until("the line to be taken", function()
        local state = tmux("display-message", "-p", "#{cursor_x}").out
        return state == "0\n"
      end)
      keys("C-c")
      shows("interrupted\nlocal>")
      enter("'still here'", '\n"still here"')
    end
  end)

  it("stops at Ctrl-C a loop that does little but print", function()
    open()
    shows("local>")
    for _, code in ipairs({
      "while true do print('x') end", "for i = 1, math.huge do print(i, 'y') end",
      "while true do pcall(print, 'z') end",
    }) do
      write(code)
      keys("Enter")
      e2e.wait_until("the loop to print", function()
        return select(2, screen():gsub("\n[%dxyz%.%s]+", "")) > 0 and not screen():find("local>")
      end)
      keys("C-c")
      shows("\ninterrupted\nlocal>")
    end
    enter("'still here'", '\n"still here"')
  end)

  it("begins another line at Alt-Enter, as terminals send it", function()
    open()
    shows("local>")
    write("x = 1")
    keys("M-Enter")
    write("y = x + 1")
    keys("M-C-j")
    enter("return x, y", "return x, y\n1, 2")
  end)

  it("writes the log of the driver, of its node and of tasks above the line", function()
    open(80)
    shows("local>")
    enter("log = require('fleet.log') spawn = require('host.task').spawn", "spawn")
    enter("fleet.call(fleet.any, function() return 1 end)", "\n1")
    enter("spawn(function() fleet.sleep(0.7) log.warn('of the driver') end)", "end)")
    local line = "'a line of " .. ("x"):rep(150) .. "'"
    write(line)
    shows("msg=\"of the driver\"\nlocal> " .. line)
    keys("Enter")
    shows("local>")
    enter("fleet.cast(fleet.any, function() fleet.sleep(0.7) log.warn('of a task') end)", "true")
    write("half typed")
    keys("Left", "Left")
    shows("msg=\"of a task\"\nlocal> half typed")
    write("-")
    shows("\nlocal> half typ-ed")
    keys("C-c")
    shows("local>")
    local workers = e2e.children(e2e.children(pid_of_program())[1])
    write("still here")
    e2e.kill(workers[1], "KILL")
    e2e.wait_until("the node's log", function()
      return screen():find("role=node [^\n]*\n?[^\n]*\nlocal> still here$")
    end)
  end)

  it("has an interrupt that came too early", function()
    open()
    shows("local>")
    write("fleet.sleep(1000)")
    keys("Enter", "C-c")
    shows("interrupted\nlocal>")
  end)

  it("shows what is printed meanwhile above the line", function()
    open(40)
    shows("local>")
    write("require('host.task').spawn(function() ")
    enter("for i = 1, 3 do fleet.sleep(0.5) print(i) end end)", "end end)")
    write("a line that is longer than this terminal is wide")
    shows("\n1\n2\n3\nlocal> a line that is longer than this terminal is wide")
  end)

  it("leaves the terminal as it was, whatever ends it", function()
    open()
    for _, way in ipairs({
      function() keys("C-d") end,
      function()
        write(":quit")
        keys("Enter")
      end,
      function()
        write("os.exit(3)")
        keys("Enter")
      end,
      function() e2e.kill(pid_of_program(), "TERM") end,
    }) do
      shows("local>")
      way()
      shows("\n$")
      terminal_is_restored()
      write("clear; " .. e2e.program .. " repl")
      keys("Enter")
    end
    shows("local>")
    write("half a li")
    keys("C-z")
    shows("\n$")
    terminal_is_restored()
    write("fg")
    keys("Enter")
    shows("local> half a li")
  end)

  it("gives up what is not complete, also by a Ctrl-C right behind Enter", function()
    open()
    shows("local>")
    for i, begun in ipairs({ "do", "f(", "x = [[", "if true then" }) do
      write(begun)
      keys("Enter", "C-c")
      shows("local>")
      enter(("'%d' .. 'th'"):format(i), ('"%dth"'):format(i))
    end
  end)

  it("draws the line again when the terminal changes its size", function()
    open(80)
    shows("local>")
    write("'this is a line'")
    tmux("resize-window", "-x", "50", "-y", "30")
    shows("local> 'this is a line'")
    keys("Enter")
    shows('\n"this is a line"\nlocal>')
  end)

  it("reads a pipe without prompt, colour or end", function()
    local input = world:write("input.lua",
      "x = 5\nfunction f()\n\n  return x\nend\nf(), {}\nerror('bad')\nprint('after')\n'last'")
    local run = world:run({ "repl" }, { stdin = input, env = { "HOME=" .. world.dir } })
    assert.equal(0, run.code)
    assert.equal('5, {}\nafter\n"last"\n', run.out)
    assert.equal("repl:4:1: bad\nstack traceback:\n  [C]: in " .. FRAME .. " 'error'\n"
      .. "  repl:4:1: in main chunk\n", run.err)
    assert.is_false(e2e.exists(world:path(".local")))
  end)

  it("ends at a signal while it reads a pipe", function()
    for signal, code in pairs({ INT = 130, TERM = 143 }) do
      local p = world:program({ "repl" }, { pipe = true })
      p.stdin:write("print('ready')\n")
      e2e.wait_until("the first line", function() return p:out() == "ready\n" end)
      p:kill(signal)
      assert.equal(code, p:wait().code)
    end
  end)
end)
