-- SPDX-License-Identifier: MIT
-- Runs the examples of docs/guide.md: `lua` blocks are files, named in their first line, and
-- `console` blocks are commands with their output.

local e2e = require("spec.support.e2e")

local MARK = "@@ the next command @@"

-- The fenced blocks of a document: {kind=, text=, heading=}
local function blocks_of(text)
  local blocks, heading, block = {}, nil, nil
  for line in text:gmatch("([^\n]*)\n") do
    local fence = line:match("^```(%w*)$")
    if fence and block then
      block.text = table.concat(block, "\n") .. "\n"
      blocks[#blocks + 1], block = block, nil
    elseif fence then
      block = { kind = fence, heading = heading }
    elseif block then
      block[#block + 1] = line
    else
      heading = line:match("^#+ (.*)") or heading
    end
  end
  return blocks
end

-- The commands of a console block: {command=, output=}
local function commands_of(block)
  local list = {}
  for _, line in ipairs(block) do
    local command = line:match("^%$ (.*)")
    if command then
      list[#list + 1] = { command = command, output = "" }
    else
      list[#list].output = list[#list].output .. line .. "\n"
    end
  end
  return list
end

-- Returns a script that prints the mark before each command, runs it, and ends its processes.
-- The script waits until a server listens, as people do without noticing.
local function script_of(commands)
  local lines = {
    "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT",
    "mark() { local code=$?; echo '" .. MARK .. "'; return $code; }",
  }
  for _, each in ipairs(commands) do
    lines[#lines + 1] = "mark"
    lines[#lines + 1] = each.command
    local host, port = each.command:match("tcp://([%d.]+):(%d+).*&$")
    if host then
      lines[#lines + 1] = ("until (: </dev/tcp/%s/%s) 2>/dev/null; do sleep 0.02; done"):format(
        host, port)
    end
  end
  return table.concat(lines, "\n") .. "\n"
end

-- The expected output as a pattern: "..." matches any text of a line.
local function pattern_of(output)
  local pattern = output:gsub("[%^%$%(%)%%%.%[%]%*%+%-%?]", "%%%0")
  return "^" .. pattern:gsub("%%%.%%%.%%%.", "[^\n]-") .. "$"
end

describe("the guide", function()
  local text = assert(e2e.read("docs/guide.md"))
  local blocks = blocks_of(text)
  local world

  before_each(function()
    world = e2e.new()
    assert(os.execute(("mkdir %s/bin && ln -s '%s' %s/bin/moonfleet"):format(world.dir,
      e2e.program, world.dir)))
    for _, block in ipairs(blocks) do
      local name = block.kind == "lua" and block.text:match("^%-%- example: (%S+)\n")
      if name then world:write(name, block.text) end
    end
  end)
  after_each(function() world:close() end)

  it("has only blocks that are run", function()
    local commands, code, names = "", "", {}
    for _, block in ipairs(blocks) do
      assert(block.kind == "lua" or block.kind == "console", "a block of kind " .. block.kind)
      if block.kind == "console" then
        commands = commands .. block.text
      else
        local name = block.text:match("^%-%- example: (%S+)\n")
        names[#names + 1] = assert(name, "a block without a name: " .. block.text)
        code = code .. block.text
      end
    end
    assert.is_true(#names > 0)
    for _, name in ipairs(names) do
      local module = ('require("%s")'):format(name:gsub("%.lua$", ""))
      assert(commands:find(name, 1, true) or code:find(module, 1, true), name .. " is not used")
    end
  end)

  for number, block in ipairs(blocks) do
    if block.kind == "console" then
      it(("prints what it shows: %s (block %d)"):format(block.heading, number), function()
        local ports = {}
        local body = block.text:gsub("127%.0%.0%.1:(%d+)", function(port)
          ports[port] = ports[port] or e2e.free_port()
          return "127.0.0.1:" .. ports[port]
        end)
        local commands = commands_of(e2e.lines(body))
        local script = world:write("script", script_of(commands))
        local path = ("PATH=%s/bin:%s"):format(world.dir, os.getenv("PATH"))
        local run = world:start({ "env", "-C", world.dir, path, "bash", script }):wait()
        local printed = {}
        for part in (run.out .. MARK .. "\n"):gmatch("(.-)" .. MARK .. "\n") do
          printed[#printed + 1] = part
        end
        table.remove(printed, 1) -- before the first
        assert.equal(#commands, #printed, run.err)
        for i, each in ipairs(commands) do
          if not printed[i]:find(pattern_of(each.output)) then
            assert.equal(each.output, printed[i], each.command .. "\n" .. run.err)
          end
        end
      end)
    end
  end
end)
