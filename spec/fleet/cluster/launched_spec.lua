-- SPDX-License-Identifier: MIT
local e2e = require("spec.support.e2e")
local errors = require("fleet.errors")
local launched = require("fleet.cluster.launched")
local sys = require("host.sys")
local task = require("host.task")

describe("fleet.cluster.launched", function()
  local lines, node
  before_each(function() lines = {} end)
  after_each(function() node:close() end)

  -- A node that a shell command starts; it explains its end as EXPLANATION.
  local function new(command, options)
    options = options or {}
    node = launched.new({
      name = "n", title = "the node", host = options.host, prepare = options.prepare,
      argv = { "/bin/sh", "-c", command },
      explain = function(code, signal, output)
        return ("%s, %s: %s"):format(code, signal, output)
      end,
    }, function(line) lines[#lines + 1] = line end, options.timeout)
    return node
  end

  local function fails(kind, message)
    local opened, err = node:dial()
    assert.is_nil(opened)
    assert.same({ kind, message }, { err.kind, err.message })
  end

  -- Checks that it gives up a command, which writes the number of its process, and ends it.
  local function gives_up(command, options, kind, message)
    new(command, options)
    fails(kind, message)
    assert.is_false(e2e.alive(tonumber(lines[1])))
  end

  it("starts a node, and once more after restart alone", function()
    new(("exec %s serve --stdio --workers=1 --log-level=error"):format(e2e.program))
    local first = assert(node:dial())
    assert.equal("the node", first:peer())
    first:close()
    fails("connect", "0, nil: ")
    node:restart()
    assert(node:dial()):close()
  end)

  it("explains the end of the process with all that it has written", function()
    -- its last words come from another process, after its end
    new("(sleep 0.1; echo last >&2) <&- >&- & echo first >&2; exit 3")
    fails("connect", "3, nil: first\nlast\n")
    assert.same({ "first", "last" }, lines)
    fails("connect", "3, nil: first\nlast\n")
  end)

  it("takes lines that end with CR and LF", function()
    new("printf 'a\\r\\nb\\r\\n' >&2; exit 3")
    fails("connect", "3, nil: a\r\nb\r\n")
    assert.same({ "a", "b" }, lines)
  end)

  it("explains a signal, and output without a line end", function()
    new("printf 'half a line' >&2; kill -9 $$")
    fails("connect", "nil, 9: half a line")
    assert.same({ "half a line" }, lines)
  end)

  it("explains it with what it wrote to stdout, when there is nothing else", function()
    new("echo This account is closed.; exit 1")
    fails("connect", [[1, nil: it wrote "This account is closed.\n"]])
  end)

  it("gives up what is silent, and ends it", function()
    gives_up("echo $$ >&2; exec sleep 100", { timeout = 0.2 }, "timeout",
      "the node: no node has answered for 1 s")
  end)

  it("gives up what prints something else for ever", function()
    gives_up("echo $$ >&2; exec yes", nil, "connect", "the node: it is not moonfleet: there is "
      .. 'no preface in its first 64 KiB, which begin with "' .. ("y\\n"):rep(16) .. '"')
  end)

  it("ends what ignores the end of its input and SIGTERM", function()
    gives_up("trap '' TERM; echo $$ >&2; while :; do sleep 0.1; done", { timeout = 0.1 },
      "timeout", "the node: no node has answered for 1 s")
  end)

  it("says what came over the channel, which ends the process too", function()
    new(([[printf 'moonfleet/%d\n\0\0\0\130'; cat; echo bye >&2]]):format(sys.protocol))
    fails("protocol", "the node: it sent a frame of unknown kind 88")
    assert.is_false(node.process:ended() == nil)
  end)

  it("titles what it cannot explain better", function()
    new("exit 3")
    node:dial()
    for message, titled in pairs({
      ["n: malformed reply"] = "the node: malformed reply",
      ["the node: malformed reply"] = "the node: malformed reply",
      ["next: malformed reply"] = "the node: next: malformed reply",
      ["malformed reply"] = "the node: malformed reply",
    }) do
      for _, kind in ipairs({ "protocol", "lost" }) do
        local err = node:explain(errors.new({ kind = kind, message = message }))
        assert.same({ kind, titled }, { err.kind, err.message })
      end
    end
  end)

  it("says that there is no such program", function()
    node = launched.new({ name = "n", title = "the node", argv = { "/no/such/ssh" } }, print)
    fails("connect", "the node: cannot run '/no/such/ssh': No such file or directory")
  end)

  it("is not started once it is closed, even while it waits for its turn", function()
    local starts, others, futures = 0, {}, 0
    for i = 1, 12 do -- ten at a time
      others[i] = new("exec sleep 100", {
        host = "h", timeout = 0.2, prepare = function()
          starts = starts + 1
          task.sleep(0.05)
          return { "/bin/sleep", "100" }
        end,
      })
      task.spawn(function()
        others[i]:dial()
        futures = futures + 1
      end)
    end
    task.yield()
    assert.equal(10, starts)
    for _, other in ipairs(others) do other:close() end
    e2e.wait_until("the end of all", function() return futures == 12 end)
    assert.equal(10, starts)
  end)
end)
